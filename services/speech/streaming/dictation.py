"""One utterance written down while it grows: what two drafts agree on is committed, and never taken back.

Local agreement (https://arxiv.org/abs/2307.14743) on an encoder that hears it all again each time.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np
import torch

from services.speech.audio import Clip
from services.speech.phrases import PhraseMachine
from services.speech.runtime import Recognised, Runtime, Utterance
from services.speech.utterances import Stretch

HELD_BACK = 1
"""The last character of a draft may have been heard in half: it is not committed."""


class Dictation:
    """Takes the drafts of one utterance in order, then all of it."""

    def __init__(self, runtime: Runtime, rate: int, phrases: PhraseMachine | None, *, live: bool):
        self._runtime = runtime
        self._rate = rate
        self._phrases = phrases
        self._live = live
        self._before: tuple[int, ...] = ()
        self._seconds = 0.0
        self.committed: tuple[int, ...] = ()
        """Characters that every later text of this utterance begins with."""

    async def draft(self, samples: np.ndarray, *, binding: bool) -> tuple[int, ...]:
        """The text so far; commits to what it shares with the draft before, if it is binding."""
        written = await self._runtime.draft(self._utterance(samples), live=self._live)
        self._seconds += written.seconds
        ids = written.ids
        if binding:
            agreed = min(_shared(self._before, ids), len(ids) - HELD_BACK)
            self.committed = ids[: max(len(self.committed), agreed)]
        self._before = ids
        return ids

    async def finish(self, samples: np.ndarray) -> Recognised:
        """The utterance's final text, and all about it; `seconds` counts the drafts in."""
        recognised = await self._runtime.recognise(self._utterance(samples), live=self._live)
        return replace(recognised, seconds=self._seconds + recognised.seconds)

    def _utterance(self, samples: np.ndarray) -> Utterance:
        guess = self._before[len(self.committed) :]
        return Utterance(torch.from_numpy(samples), self._rate, self._phrases, self.committed, guess)


async def dictate(
    runtime: Runtime, clip: Clip, stretch: Stretch, phrases: PhraseMachine | None
) -> Recognised:
    """An utterance of a whole clip, written down in the steps of a live one, and so to the same text."""
    dictation = Dictation(runtime, clip.rate, phrases, live=False)
    for draft in stretch.drafts:
        await dictation.draft(clip.samples[draft.first : draft.end], binding=draft.binding)
    return await dictation.finish(clip.samples[stretch.start : stretch.end])


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many characters two texts have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
