"""What can be set about the speech service: section `speech` of config.yaml."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from servicekit.settings import ServerSettings

MIB = 1024 * 1024


class SpeechSettings(ServerSettings):
    """Everything configurable, with its default."""

    port: int = Field(50052, ge=0, le=65535)
    health_port: int = Field(51052, ge=0, le=65535)
    metrics_port: int | None = Field(52052, ge=0, le=65535)

    model: Path = Path("models/autoglm-mobile-tiny")
    """Folder of the bundle; its `speech` sub-folder is opened."""
    lazy_load: bool = False
    """Only validate the checkpoint at start, and load it when the first clip comes."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` is float32 on a CPU and bfloat16 on a GPU."""
    num_threads: int = Field(0, ge=0)
    """Threads of one forward pass; 0 leaves the choice to torch."""
    decode_threads: int = Field(2, ge=1)
    """Clips that are decoded at the same time."""

    max_audio_bytes: int = Field(25 * MIB, ge=1)
    max_audio_seconds: float = Field(600.0, gt=0)
    max_batch: int = Field(8, ge=1)
    """Utterances in one forward pass."""
    max_queue: int = Field(64, ge=1)
    """Clips in work or waiting; one more is refused with QUEUE_FULL."""
    cache_bytes: int = Field(64 * MIB, ge=0)
    """Size of the embedding cache; 0 turns it off."""
    stall_seconds: float = Field(60.0, gt=0)
    """A forward pass that takes longer than this makes the service unhealthy."""

    max_streams: int = Field(32, ge=1)
    """Live streams; one more is refused with QUEUE_FULL."""
    max_stream_seconds: float = Field(3600.0, gt=0)
    max_stream_chunk_bytes: int = Field(4 * MIB, ge=1)
    stream_idle_seconds: float = Field(60.0, gt=0)
    """A stream to which no audio comes for this long is ended."""

    beams: int = Field(4, ge=1, le=16)
    """Texts followed at once; 1 takes the likeliest character each time."""
    endpoint_silence_s: float = Field(0.8, ge=0.1, le=5.0)
    """Silence after which an utterance ends."""
    unsaid_silence_s: float = Field(1.6, ge=0.1, le=10.0)
    """The same for an utterance in which hardly anything was said, so that a click does not end it."""
    phrase_boost: float = Field(1.5, ge=-10, le=10)
    """Log-probability that each character of a phrase earns, where a request does not say."""

    @model_validator(mode="after")
    def _clip_fits_message(self) -> Self:
        if self.max_audio_bytes >= self.max_message_bytes:
            raise ValueError("max_audio_bytes must be smaller than max_message_bytes")
        return self
