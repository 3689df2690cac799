"""Bytes that were cut anywhere, joined to samples again; and the samples that may still be asked for."""

import numpy as np

from servicekit.errors import InvalidArgument
from services.speech.audio import AudioFormat, read_raw


class Framer:
    """Whole samples out of pieces of any size."""

    def __init__(self, layout: AudioFormat):
        self._layout = layout
        self._rest = b""

    def feed(self, data: bytes) -> np.ndarray:
        """Mono float32 samples that this piece completes; raises InvalidArgument for NaN and infinity."""
        data = self._rest + data
        whole = len(data) // self._layout.frame_bytes * self._layout.frame_bytes
        self._rest = data[whole:]
        return read_raw(data[:whole], self._layout)

    def close(self) -> None:
        """Raises InvalidArgument when the last sample has not come whole."""
        if self._rest:
            raise InvalidArgument(
                "AUDIO_TRUNCATED", "The stream ends in the middle of a sample.", field="audio"
            )


class Tape:
    """The last samples of a stream, by their place in it."""

    def __init__(self) -> None:
        self._start = 0
        self._samples = np.zeros(0, np.float32)

    @property
    def end(self) -> int:
        """Samples recorded, those included that are gone."""
        return self._start + len(self._samples)

    def record(self, samples: np.ndarray) -> None:
        """Adds what comes next."""
        self._samples = np.concatenate([self._samples, samples])

    def forget(self, place: int) -> None:
        """Drops everything before `place`."""
        gone = max(0, min(place, self.end) - self._start)
        self._samples, self._start = self._samples[gone:].copy(), self._start + gone

    def cut(self, start: int, end: int) -> np.ndarray:
        """A copy of the samples from `start` up to, not including, `end`, as far as they are still there."""
        return self._samples[max(0, start - self._start) : max(0, end - self._start)].copy()
