"""When to do what: utterances begin, are drafted on the way, and end. A function of the samples alone.

A live stream and a whole clip go through the same listener: written down in the same steps, they give the
same text. Positions are samples of the stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from services.speech import endpointing
from services.speech.endpointing import Endpointer, EndpointSettings
from services.speech.voice import VoiceDetector, VoiceNetwork

FIRST_DRAFT = 20
"""Windows (of 32 ms) until an utterance is drafted for the first time, and until it is for the second."""
DRAFT_STEP = 40
"""Windows between later drafts; twice as often costs twice as much, and reads no better."""


@dataclass(frozen=True)
class Begin:
    """Somebody speaks; the utterance's first sample."""

    first: int


@dataclass(frozen=True)
class Draft:
    """The running utterance is written down as far as it goes: from `first` up to, not including, `end`."""

    first: int
    end: int
    binding: bool
    """False where the utterance may still be cut: what was said beyond the cut belongs to the next one."""


@dataclass(frozen=True)
class End:
    """The utterance is over: its samples from `first` up to, not including, `end`."""

    first: int
    end: int


Event = Begin | Draft | End


class Listener:
    """One stream's ears."""

    def __init__(self, rate: int, network: VoiceNetwork, settings: EndpointSettings):
        self._detector = VoiceDetector(rate, network)
        self._endpointer = Endpointer(settings)
        self._certain = self._endpointer.uncut_windows
        self._samples = 0
        self._heard = 0  # windows
        self._first: int | None = None
        self._drafted = 0  # where the last draft of the running utterance ended, in windows

    @property
    def window(self) -> int:
        """Samples that are heard at once."""
        return self._detector.window

    @property
    def kept_from(self) -> int:
        """The first sample that a later event may speak of."""
        return self._endpointer.kept_from * self.window

    def feed(self, samples: np.ndarray) -> list[Event]:
        """What happens in further mono float32 samples, in however many pieces they come."""
        self._samples += len(samples)
        return [event for chance in self._detector.feed(samples) for event in self._hear(chance)]

    def flush(self) -> list[Event]:
        """The stream is over: its last window is filled up with silence, and what is still running ends."""
        missing = -self._samples % self.window
        events = [
            event
            for chance in self._detector.feed(np.zeros(missing, np.float32))
            for event in self._hear(chance)
        ]
        return [*events, *(self._end(event) for event in self._endpointer.flush())]

    def _hear(self, probability: float) -> Iterator[Event]:
        self._heard += 1
        for event in self._endpointer.feed([probability]):
            if isinstance(event, endpointing.Begin):
                self._first, self._drafted = event.window, event.window
                yield Begin(event.window * self.window)
            else:
                self._first = None
                yield self._end(event)
        if self._first is not None and self._is_due(self._heard - self._first):
            said_until = self._heard - self._endpointer.silent_windows
            if said_until > self._drafted:
                self._drafted = self._heard
                binding = self._heard - self._first <= self._certain
                end = min(self._heard * self.window, self._samples)
                yield Draft(self._first * self.window, end, binding)

    def _is_due(self, windows: int) -> bool:
        return windows == FIRST_DRAFT or windows % DRAFT_STEP == 0

    def _end(self, event: endpointing.End) -> End:
        return End(event.first * self.window, min(event.last * self.window, self._samples))
