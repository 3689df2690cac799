"""Short recordings in a row: words of one speaker, or syllables that make a sentence."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from training.speech.clips import SAMPLE_RATE, Clip
from training.speech.syllables import readings

LONGEST_JOIN = 6.0


def join_words(words: Sequence[Clip], rng: np.random.Generator) -> Clip:
    """One to five words of the voice of the first, with pauses; quiet before and after."""
    first = words[int(rng.integers(len(words)))]
    same = [word for word in words if word.voice == first.voice]
    chosen = [first] + [same[i] for i in rng.integers(0, len(same), rng.integers(0, 5))]
    pieces, seconds, text = [_quiet(rng, 0.0, 0.6)], 0.0, ""
    for word in chosen:
        if seconds + word.seconds > LONGEST_JOIN:
            break
        pieces += [word.samples, _quiet(rng, 0.1, 0.6)]
        seconds += word.seconds
        text += word.text
    return Clip(text, np.concatenate(pieces), first.source, first.voice)


class SyllableVoice:
    """Sentences put together from single recorded syllables, as far as every tone was recorded."""

    def __init__(self, syllables: Sequence[Clip]) -> None:
        self._takes: defaultdict[str, list[np.ndarray]] = defaultdict(list)
        for clip in syllables:
            self._takes[str(clip.pinyin)].append(clip.samples)

    def can_say(self, text: str) -> bool:
        """Whether each of its syllables is there, in its tone."""
        return all(reading in self._takes for reading in readings(text))

    def say(self, text: str, rng: np.random.Generator) -> Clip:
        """The syllables in a row, each a little shortened at both ends and laid over the next."""
        overlap = int(rng.uniform(0.01, 0.06) * SAMPLE_RATE)
        spoken = _quiet(rng, 0.05, 0.4).astype(np.float32)
        for reading in readings(text):
            takes = self._takes[reading]
            piece = takes[rng.integers(len(takes))].astype(np.float32)
            cross = min(overlap, len(piece) // 3, len(spoken))
            fade = np.linspace(0, 1, cross, dtype=np.float32)
            piece[:cross] *= fade
            joined = spoken[len(spoken) - cross :] * (1 - fade) + piece[:cross]
            spoken = np.concatenate([spoken[: len(spoken) - cross], joined, piece[cross:]])
        return Clip(text, spoken.astype(np.int16), "joined", "syllables")


def _quiet(rng: np.random.Generator, least: float, most: float) -> np.ndarray:
    samples = int(rng.uniform(least, most) * SAMPLE_RATE)
    return (rng.standard_normal(samples) * 8).astype(np.int16)
