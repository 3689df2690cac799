"""The first pass over an utterance: the streaming branch hears it in chunks, its CTC head writes at once."""

from typing import Self

import torch

from services.speech.model.ctc import BestPath
from services.speech.model.streaming import StreamState
from services.speech.recogniser import Recogniser
from services.speech.resampling import resample_part, samples_needed
from services.speech.runtime import Runtime
from services.speech.streaming.framing import Tape


class FirstPass:
    """Follows one utterance."""

    def __init__(self, runtime: Runtime, recogniser: Recogniser, state: StreamState, rate: int, first: int):
        self._runtime = runtime
        self._recogniser = recogniser
        self._state = state
        self._rate = rate
        self._first = first
        self._frames = 0  # feature frames heard
        self._path = BestPath()

    @classmethod
    def begin(cls, runtime: Runtime, recogniser: Recogniser, rate: int, first: int) -> Self | None:
        """An utterance that begins at a sample of the stream; None without a streaming branch."""
        branch = recogniser.model.streaming
        return None if branch is None else cls(runtime, recogniser, branch.start(), rate, first)

    async def hear(self, tape: Tape) -> bool:
        """Hears as many chunks as have been recorded; True when that was one at least."""
        grew = False
        while (chunk_TM := self._next_chunk(tape)) is not None:
            heard, self._state = await self._runtime.hear(chunk_TM, self._state)
            self._frames += len(chunk_TM)
            self._path = self._path.extend(heard.log_probabilities_SV)
            grew = True
        return grew

    def text_after(self, seconds: float) -> str:
        """What was written for the time from there on, counted from the utterance's beginning."""
        frame_s = self._recogniser.frame_s
        ids = [spike.id for spike in self._path.spikes if spike.start * frame_s >= seconds]
        return self._recogniser.vocabulary.text(ids)

    def _next_chunk(self, tape: Tape) -> torch.Tensor | None:
        """Levels [T, M] of the next full chunk, if it has been recorded."""
        branch, features = self._recogniser.model.streaming, self._recogniser.config.features
        if branch is None:
            return None
        frames = branch.chunk_features(self._state)
        # One frame more in front, which pre-emphasis cannot treat right, is thrown away again.
        before = min(1, self._frames)
        start = (self._frames - before) * features.hop
        end = start + (before + frames - 1) * features.hop + features.window + 1
        needed = samples_needed(end, self._rate, features.sample_rate)
        if tape.end - self._first < needed:
            return None
        samples_N = torch.from_numpy(tape.cut(self._first, self._first + needed))
        part_N = resample_part(samples_N, self._rate, features.sample_rate, start, end)
        return self._recogniser.levels(part_N)[before : before + frames]
