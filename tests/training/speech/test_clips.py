"""Each clip goes to one side: trained on, chosen by, or reported."""

from pathlib import Path

from training.speech.clips import TUNE_SENTENCES, made_sentences, real_sentences, real_words


def test_the_one_real_speaker_is_cut_into_two_parts(data: Path) -> None:
    train, tune = real_sentences(data, "train"), real_sentences(data, "tune")
    assert (len(train), len(tune)) == (3, TUNE_SENTENCES)
    assert {clip.voice for clip in (*train, *tune)} == {"S0150"}


def test_the_report_groups_the_speaker_that_the_teacher_knew(data: Path) -> None:
    assert [clip.source for clip in real_sentences(data, "eval")] == ["s0252", "others"]


def test_words_of_the_test_speakers_are_apart(data: Path) -> None:
    assert [clip.text for clip in real_words(data, "dsp20")] == ["数字"]
    assert [clip.text for clip in real_words(data, "dsp20", "test")] == ["语音"]


def test_a_syllable_has_no_text(data: Path) -> None:
    (syllable,) = real_words(data, "cmn_syllables")
    assert (syllable.text, syllable.pinyin) == ("", "hao3")
    assert 0.9 < syllable.seconds < 1.1


def test_made_sentences_come_by_split(made: Path) -> None:
    assert len(made_sentences(made, "train")) == 3
    (held_out,) = made_sentences(made, "held_out")
    assert held_out.source == "made_sentence"
    assert held_out.seconds == 1.5
