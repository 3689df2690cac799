"""Sentences that nobody has spoken, patched together from the features of those that somebody has.

Any text becomes something to hear, and teaches the decoder which of many like-sounding characters is meant.
The longest run of syllables that one voice has said is taken each time, cut where the decoder looked.
T feature frames, M mel bands.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from services.speech.alignment import align
from services.speech.model.decoder import BOUNDARY
from services.speech.model.encoder import SUBSAMPLING
from services.speech.model.features import LogMel, normalise
from services.speech.model.recogniser import RecogniserModel
from services.speech.resampling import resample
from services.speech.vocabulary import Vocabulary
from training.speech.clips import SAMPLE_RATE, Clip
from training.speech.syllables import readings

LONGEST_RUN = 4
LONGEST_CHARACTER = 44
"""Feature frames; what is longer holds a pause."""
QUIET = (5, 60)
"""Feature frames of quiet before and after a sentence."""


@dataclass(frozen=True)
class _Piece:
    """Where in a clip's features a run of syllables lies."""

    clip: int
    start: int
    end: int


class Patchwork:
    """Every run of syllables in the clips, by voice."""

    def __init__(self, model: RecogniserModel, vocabulary: Vocabulary, clips: Sequence[Clip]) -> None:
        self._levels: list[np.ndarray] = []
        self._runs: defaultdict[str, defaultdict[tuple[str, ...], list[_Piece]]] = defaultdict(
            lambda: defaultdict(list)
        )
        log_mel = LogMel(model.config.features)
        for clip in clips:
            ids, syllables = vocabulary.ids(clip.text), readings(clip.text)
            if ids and len(ids) == len(syllables):
                levels_TM = _levels(clip, log_mel, model.config.features.sample_rate)
                self._learn(clip.voice, syllables, levels_TM, _cut(model, levels_TM, ids))
        self.voices = sorted(self._runs)

    def say(self, text: str, rng: np.random.Generator) -> torch.Tensor | None:
        """Normalised features [T, M]; None where no voice has said every syllable."""
        syllables = readings(text)
        for voice in rng.permutation(self.voices):
            pieces = self._find(self._runs[str(voice)], syllables, rng)
            if pieces is not None:
                levels = [self._levels[piece.clip][piece.start : piece.end] for piece in pieces]
                return normalise(torch.from_numpy(np.concatenate(_in_quiet(levels, rng))))
        return None

    def _learn(
        self, voice: str, syllables: tuple[str, ...], levels_TM: np.ndarray, spans: list[tuple[int, int]]
    ) -> None:
        clip = len(self._levels)
        self._levels.append(levels_TM)
        for first in range(len(syllables)):
            for last in range(first + 1, min(first + LONGEST_RUN, len(syllables)) + 1):
                piece = _Piece(clip, spans[first][0], spans[last - 1][1])
                self._runs[voice][syllables[first:last]].append(piece)

    def _find(
        self,
        runs: dict[tuple[str, ...], list[_Piece]],
        syllables: tuple[str, ...],
        rng: np.random.Generator,
    ) -> list[_Piece] | None:
        pieces, place = [], 0
        while place < len(syllables):
            for length in range(min(LONGEST_RUN, len(syllables) - place), 0, -1):
                if found := runs.get(syllables[place : place + length]):
                    pieces.append(found[rng.integers(len(found))])
                    place += length
                    break
            else:
                return None
        return pieces


def _levels(clip: Clip, log_mel: LogMel, rate: int) -> np.ndarray:
    samples_N = torch.from_numpy(clip.samples.astype(np.float32) / 32_768)
    samples_N = samples_N + torch.randn(len(samples_N)) * 1e-4
    levels_TM: np.ndarray = log_mel(resample(samples_N, SAMPLE_RATE, rate)).numpy()
    return levels_TM


@torch.inference_mode()
def _cut(model: RecogniserModel, levels_TM: np.ndarray, ids: list[int]) -> list[tuple[int, int]]:
    """First feature frame and frame after the last of each character."""
    states_1SD = model.encoder(normalise(torch.from_numpy(levels_TM))[None])
    _, looks_LHNS = model.decoder.attend(torch.tensor([[BOUNDARY, *ids]]), states_1SD)
    spans = [(start * SUBSAMPLING, end * SUBSAMPLING) for start, end in align(looks_LHNS[:, :, :-1])]
    first_end, last_start = spans[0][1], spans[-1][0]
    spans[0] = (max(0, first_end - LONGEST_CHARACTER), first_end)
    spans[-1] = (last_start, min(spans[-1][1], last_start + LONGEST_CHARACTER))
    return spans


def _in_quiet(levels: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """With the faintest frames of the pieces, repeated at random, before and after."""
    frames_TM = np.concatenate(levels)
    faintest = np.argsort(frames_TM.mean(1))[: max(2, len(frames_TM) // 20)]
    before, after = rng.integers(*QUIET, size=2)
    quiet_TM = frames_TM[rng.choice(faintest, before + after)]
    return [quiet_TM[:before], *levels, quiet_TM[before:]]
