"""Short recordings are joined within one voice, and say what they claim."""

from itertools import pairwise

import numpy as np

from training.speech.clips import SAMPLE_RATE, Clip
from training.speech.joining import LONGEST_JOIN, SyllableVoice, join_words


def clip(text: str, voice: str, level: int, seconds: float = 0.5) -> Clip:
    samples = np.full(int(seconds * SAMPLE_RATE), level, np.int16)
    return Clip(text, samples, "dsp20", voice, pinyin=text)


def test_words_of_one_voice_are_joined_in_order() -> None:
    words = [clip("数字", "a", 1_000), clip("语音", "a", 2_000), clip("北京", "b", 3_000)]
    names = {1_000: "数字", 2_000: "语音", 3_000: "北京"}
    for seed in range(20):
        joined = join_words(words, np.random.default_rng(seed))
        loud = joined.samples[np.abs(joined.samples) > 500]
        changes = [loud[0], *(b for a, b in pairwise(loud) if a != b)]
        heard = "".join(names[int(level)] for level in changes)
        assert len(loud) == SAMPLE_RATE // 2 * (len(joined.text) // 2)
        assert {"北京"} == set(_pairs(joined.text)) or "北京" not in _pairs(joined.text)
        assert set(_pairs(heard)) == set(_pairs(joined.text))


def test_a_join_stays_short() -> None:
    words = [clip("数字", "a", 1_000, seconds=2.5)]
    for seed in range(10):
        assert join_words(words, np.random.default_rng(seed)).seconds < LONGEST_JOIN + 3


def test_syllables_say_sentences_in_their_tones_alone() -> None:
    voice = SyllableVoice([clip("ni3", "c", 900), clip("hao3", "c", 1_800)])
    assert voice.can_say("你好")
    assert not voice.can_say("你号")
    said = voice.say("你好", np.random.default_rng(0))
    assert said.text == "你好"
    assert 0.8 < said.seconds < 1.5
    assert {900, 1_800} <= set(said.samples.tolist())


def _pairs(text: str) -> list[str]:
    return [text[i : i + 2] for i in range(0, len(text), 2)]
