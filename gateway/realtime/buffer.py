"""The samples of a stream that a turn may still need, and the clip that a turn is."""

import struct

SAMPLE_BYTES = 2


class SampleBuffer:
    """Mono 16-bit samples by their place in the stream; keeps the last `max_s` seconds."""

    def __init__(self, rate: int, max_s: float):
        self.rate = rate
        self._max_samples = int(max_s * rate)
        self._start = 0
        self._samples = bytearray()

    @property
    def end(self) -> int:
        """How many samples the stream has had."""
        return self._start + len(self._samples) // SAMPLE_BYTES

    def fits(self, samples: bytes) -> bool:
        """Whether all of it can be kept beside what is held."""
        return len(self._samples) + len(samples) <= self._max_samples * SAMPLE_BYTES

    def append(self, samples: bytes) -> None:
        """Takes samples in; the oldest go when there is no room."""
        self._samples += samples
        self.forget(self.end - self._max_samples)

    def forget(self, before: int) -> None:
        """Drops what comes before a place in the stream."""
        dropped = min(max(before - self._start, 0), len(self._samples) // SAMPLE_BYTES)
        del self._samples[: dropped * SAMPLE_BYTES]
        self._start += dropped

    def clip(self, start_s: float, end_s: float) -> bytes | None:
        """The stretch as a WAV file, byte for byte the one that the speech service remembers.

        None when its beginning is no longer held.
        """
        start, end = round(start_s * self.rate), round(end_s * self.rate)
        if start < self._start:
            return None
        first, last = ((place - self._start) * SAMPLE_BYTES for place in (start, end))
        return to_wav(self._samples[first:last], self.rate)


def to_wav(samples: bytes | bytearray, rate: int) -> bytes:
    """A mono 16-bit WAV file: the canonical 44-byte header, then the samples."""
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(samples),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        rate,
        rate * SAMPLE_BYTES,
        SAMPLE_BYTES,
        8 * SAMPLE_BYTES,
        b"data",
        len(samples),
    )
    return header + bytes(samples)
