"""Where utterances begin and end, from the probability of speech in each window. Knows no samples, no clock.

Fed window by window or all at once, the answer is the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass

BEGIN_PROBABILITY = 0.5
KEEP_PROBABILITY = 0.35
"""Lower than to begin, so that a weak syllable ends nothing."""
SAID_S = 0.2
"""Speech shorter than this says nothing yet: a click, or a breath before the first word."""


@dataclass(frozen=True)
class EndpointSettings:
    """Durations in seconds."""

    window_s: float
    silence_s: float = 0.8
    """Silence that ends an utterance."""
    padding_s: float = 0.8
    """Kept before and after the speech at most: the recogniser learned from clips with silence around."""
    unsaid_silence_s: float = 1.6
    """Silence that ends one in which hardly anything was said."""
    longest_s: float = 15.0
    """An utterance that gets longer is cut where speech was least likely in its last third."""


@dataclass(frozen=True)
class Begin:
    """Speech has begun; `window` is the utterance's first one, padding included."""

    window: int


@dataclass(frozen=True)
class End:
    """An utterance is over: its windows from `first` up to, not including, `last`."""

    first: int
    last: int


class Endpointer:
    """One stream's endpoints."""

    def __init__(self, settings: EndpointSettings):
        self._silence = max(1, round(settings.silence_s / settings.window_s))
        self._unsaid_silence = max(self._silence, round(settings.unsaid_silence_s / settings.window_s))
        self._said = round(SAID_S / settings.window_s)
        self._longest = max(3, int(settings.longest_s / settings.window_s))
        self._padding = round(settings.padding_s / settings.window_s)
        self._heard = 0
        self._free = 0  # the first window that belongs to no utterance yet
        self._first: int | None = None
        self._last_speech = 0
        self._spoken = 0  # windows with speech in the running utterance
        self._recent: list[float] = []  # of the running utterance

    @property
    def silent_windows(self) -> int:
        """Windows since the last one with speech in it."""
        return self._heard - self._last_speech

    @property
    def uncut_windows(self) -> int:
        """An utterance that gets too long is cut behind as many windows, or later."""
        return 2 * self._longest // 3

    @property
    def kept_from(self) -> int:
        """The first window that the running or the next utterance may begin with."""
        return max(self._free, self._heard - self._padding) if self._first is None else self._first

    def feed(self, probabilities: Iterable[float]) -> list[Begin | End]:
        """What happens in these windows."""
        events: list[Begin | End] = []
        for probability in probabilities:
            events += self._hear(probability)
        return events

    def flush(self) -> list[End]:
        """The stream is over: ends what is still running."""
        return [] if self._first is None else [self._end(min(self._heard, self._last_speech + self._padding))]

    def _hear(self, probability: float) -> list[Begin | End]:
        window, self._heard = self._heard, self._heard + 1
        events: list[Begin | End] = []
        if self._first is None:
            if probability < BEGIN_PROBABILITY:
                return []
            first = max(self._free, window - self._padding)
            self._first, self._recent = first, [1.0] * (window - first)  # padding is no place to cut
            events.append(Begin(first))
        self._recent.append(probability)
        if probability >= KEEP_PROBABILITY:
            self._last_speech = window + 1
            self._spoken += 1
        elif self.silent_windows >= (self._silence if self._spoken >= self._said else self._unsaid_silence):
            return [*events, self._end(self._last_speech + min(self._padding, self._silence))]
        return events if self._heard - self._first < self._longest else [*events, *self._cut()]

    def _end(self, last: int) -> End:
        first = self._first or 0
        self._first, self._free, self._recent, self._spoken = None, last, [], 0
        return End(first, last)

    def _cut(self) -> list[Begin | End]:
        """Ends a long utterance in its last third; the next one begins right there."""
        first = self._first or 0
        quietest = min(range(self.uncut_windows, len(self._recent)), key=self._recent.__getitem__)
        rest = self._recent[quietest:]
        ended = self._end(first + quietest)
        if ended.last >= self._last_speech:  # nobody has spoken since
            return [ended]
        self._first, self._recent = ended.last, rest
        self._spoken = sum(probability >= KEEP_PROBABILITY for probability in rest)
        return [ended, Begin(ended.last)]
