"""Audio bytes to mono samples; whatever cannot be heard is refused with a named reason."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from servicekit.errors import InvalidArgument
from services.speech.containers import TruncatedError, UnreadableError, open_container

# Part of every model fingerprint: change it whenever the same bytes give other samples.
PREPROCESSOR_VERSION = "mono-sinc-2"

LOWEST_RATE, HIGHEST_RATE = 8_000, 96_000
MOST_CHANNELS = 8
SHORTEST_S = 0.1

# Formats that people do send, so that the refusal can name them.
_NOT_AUDIO = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"{", "text"),
    (b"<", "text"),
)


class Encoding(Enum):
    """How the bytes of a clip are laid out."""

    CONTAINER = "container"
    PCM_S16LE = "<i2"
    PCM_F32LE = "<f4"


@dataclass(frozen=True)
class AudioFormat:
    """Rate and channels count for raw audio only; a container says them itself."""

    encoding: Encoding = Encoding.CONTAINER
    rate: int = 0
    channels: int = 1

    @property
    def is_raw(self) -> bool:
        """Whether it is bare samples, without a container."""
        return self.encoding is not Encoding.CONTAINER

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of each channel; raw audio only."""
        return np.dtype(self.encoding.value).itemsize * self.channels


@dataclass(frozen=True)
class Clip:
    """Mono float32 samples, full scale -1..1."""

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.rate


def read_clip(data: bytes, layout: AudioFormat, *, max_seconds: float) -> Clip:
    """Decodes a clip; raises InvalidArgument with an AUDIO_ reason. Never holds more than `max_seconds`."""
    if not data:
        raise _refusal("AUDIO_EMPTY", "The clip has no bytes.")
    if not layout.is_raw:
        clip = _read_container(data, max_seconds)
    else:
        check_format(layout)
        if len(data) % layout.frame_bytes:
            raise _refusal("AUDIO_TRUNCATED", "The clip ends in the middle of a sample.")
        blocks = (
            [read_raw(data, layout)] if len(data) <= max_seconds * layout.rate * layout.frame_bytes else []
        )
        if not blocks:
            raise _too_long(max_seconds)
        clip = Clip(blocks[0], layout.rate)
    if clip.seconds < SHORTEST_S:
        raise _refusal("AUDIO_TOO_SHORT", f"The clip is shorter than {SHORTEST_S * 1000:.0f} ms.")
    return clip


def check_format(layout: AudioFormat) -> None:
    """Raises InvalidArgument when raw audio is described in a way that cannot be heard."""
    if not LOWEST_RATE <= layout.rate <= HIGHEST_RATE:
        raise InvalidArgument(
            "AUDIO_RATE_UNSUPPORTED",
            f"The rate is {layout.rate:,} Hz; {LOWEST_RATE:,} to {HIGHEST_RATE:,} Hz can be heard.",
            field="format.sample_rate_hertz",
        )
    if not 1 <= layout.channels <= MOST_CHANNELS:
        raise InvalidArgument(
            "AUDIO_CHANNELS_UNSUPPORTED",
            f"The audio has {layout.channels} channels; 1 to {MOST_CHANNELS} can be heard.",
            field="format.channel_count",
        )


def read_raw(data: bytes, layout: AudioFormat) -> np.ndarray:
    """Whole frames of raw audio as mono float32; raises InvalidArgument for samples that are no numbers."""
    samples = np.frombuffer(data, layout.encoding.value).reshape(-1, layout.channels)
    if layout.encoding is Encoding.PCM_S16LE:
        mixed: np.ndarray = samples.mean(1, dtype=np.float32) / np.float32(32768)
        return mixed
    return _mono(samples)


def _read_container(data: bytes, max_seconds: float) -> Clip:
    try:
        file = open_container(data)
        layout = AudioFormat(rate=file.layout.rate, channels=file.layout.channels)
        check_format(layout)
        samples = _gather(file.blocks(), int(max_seconds * layout.rate), max_seconds)
    except TruncatedError as error:
        raise _refusal("AUDIO_TRUNCATED", "The file ends before its last sample.") from error
    except UnreadableError as error:
        raise _refusal("AUDIO_UNREADABLE", _why_unreadable(data)) from error
    return Clip(samples, layout.rate)


def _gather(blocks: Iterable[np.ndarray], most: int, max_seconds: float) -> np.ndarray:
    """All blocks as mono, given up as soon as there are more than `most` samples."""
    kept: list[np.ndarray] = []
    total = 0
    for block in _monos(blocks):
        total += len(block)
        if total > most:
            raise _too_long(max_seconds)
        kept.append(block)
    return np.concatenate(kept) if kept else np.zeros(0, np.float32)


def _monos(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for block in blocks:
        yield _mono(block)


def _mono(samples: np.ndarray) -> np.ndarray:
    """The mean of all channels; float samples may lie beyond full scale, but must be numbers."""
    if not np.isfinite(samples).all():
        raise _refusal("AUDIO_NOT_FINITE", "The clip holds NaN or infinity.")
    # Sums of the largest floats would overflow, and nothing that loud is sound.
    mixed: np.ndarray = np.clip(samples, -1e3, 1e3).mean(1, dtype=np.float32)
    return mixed


def _why_unreadable(data: bytes) -> str:
    readable = "send wav, mp3, flac, ogg, webm, or raw PCM with its format."
    for signature, name in _NOT_AUDIO:
        if data.startswith(signature):
            return f"The bytes are {name}, not audio; {readable}"
    return f"The bytes are not a readable audio file; {readable}"


def _too_long(max_seconds: float) -> InvalidArgument:
    return _refusal("AUDIO_TOO_LONG", f"The clip is longer than {max_seconds:g} s.")


def _refusal(reason: str, message: str) -> InvalidArgument:
    return InvalidArgument(reason, message, field="audio")
