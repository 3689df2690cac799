"""Texts that nobody has spoken, as the CTC head would hear them: pieces of states, one for each syllable.

The pieces are cut out of what was heard while training, where the head itself places the characters. So the
branch's own blocks learn from any text which of many like-sounding characters is meant, without an encoder.
S encoder frames, D width, V vocabulary.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from services.speech.model.ctc import BLANK
from training.speech.syllables import readings

TAKES = 8
REACH = 4
"""Frames that a piece may extend to either side of its character's place."""


class Collage:
    """Keeps the newest pieces of each syllable."""

    def __init__(self) -> None:
        self._pieces: defaultdict[str, deque[np.ndarray]] = defaultdict(lambda: deque(maxlen=TAKES))

    def learn(self, text: str, ids: Sequence[int], states_SD: torch.Tensor, logs_SV: torch.Tensor) -> None:
        """Cuts a heard text into its syllables."""
        places = align(logs_SV.numpy(), ids)
        syllables = readings(text)
        if places is None or len(syllables) != len(ids):
            return
        states = states_SD.numpy()
        bounds = [0, *((a + b + 1) // 2 for a, b in pairwise(places)), len(states)]
        for syllable, place, (start, end) in zip(syllables, places, pairwise(bounds), strict=True):
            piece = states[max(start, place - REACH) : min(end, place + REACH + 1)]
            if len(piece):
                self._pieces[syllable].append(piece.copy())

    def can_say(self, text: str) -> bool:
        """Whether every syllable has been heard."""
        return all(reading in self._pieces for reading in readings(text))

    def say(self, text: str, rng: np.random.Generator) -> torch.Tensor:
        """States [S, D] of a text."""
        chosen = (self._pieces[reading] for reading in readings(text))
        return torch.from_numpy(np.concatenate([takes[rng.integers(len(takes))] for takes in chosen]))


def align(logs_SV: np.ndarray, ids: Sequence[int]) -> list[int] | None:
    """The frame at which each character of the likeliest path is surest; None where the text does not fit."""
    extended = np.full(2 * len(ids) + 1, BLANK)
    extended[1::2] = ids
    scores_SE = logs_SV[:, extended]
    may_skip = np.zeros(len(extended), bool)
    may_skip[3::2] = extended[3::2] != extended[1:-2:2]
    best = np.full(len(extended), -np.inf)
    best[:2] = scores_SE[0, :2]
    came = np.zeros(scores_SE.shape, np.int64)
    for frame in range(1, len(scores_SE)):
        one = np.concatenate([[-np.inf], best[:-1]])
        two = np.where(may_skip, np.concatenate([[-np.inf, -np.inf], best[:-2]])[: len(best)], -np.inf)
        choices = np.stack([best, one, two])
        came[frame] = choices.argmax(0)
        best = choices.max(0) + scores_SE[frame]
    place = len(extended) - (1 if len(extended) == 1 or best[-1] > best[-2] else 2)
    if not np.isfinite(best[place]):
        return None
    surest: dict[int, tuple[float, int]] = {}
    for frame in range(len(scores_SE) - 1, -1, -1):
        if place % 2:
            surest[place] = max(surest.get(place, (-np.inf, 0)), (float(scores_SE[frame, place]), frame))
        place -= came[frame, place]
    return [surest[1 + 2 * i][1] for i in range(len(ids))] if len(surest) == len(ids) else None
