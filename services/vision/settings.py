"""What can be set about the vision service: section `vision` of config.yaml."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from servicekit.settings import ServerSettings

MIB = 1024 * 1024

# Pillow refuses anything larger by itself.
PILLOW_MAX_PIXELS = 178_956_970


class VisionSettings(ServerSettings):
    """Everything configurable, with its default."""

    port: int = Field(50051, ge=0, le=65535)
    health_port: int = Field(51051, ge=0, le=65535)
    metrics_port: int | None = Field(52051, ge=0, le=65535)

    model: Path = Path("models/autoglm-mobile-tiny")
    """Folder of a bundle, whose `vision` sub-folder is opened, or of a published
    `Glm4vForConditionalGeneration`; `dummy:9b`, `dummy:4b` and `dummy:2b` make weights up."""
    lazy_load: bool = False
    """Only validate the checkpoint at start, and load it when the first picture comes."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` is float32 on a CPU and bfloat16 on a GPU."""
    num_threads: int = Field(0, ge=0)
    """Threads of one forward pass; 0 leaves the choice to torch."""
    decode_threads: int = Field(2, ge=1)
    """Pictures that are decoded at the same time."""

    read_text: Literal["auto", "on", "off"] = "auto"
    """Read printed text for the language model; `auto`: where the encoder cannot, and requirements-ocr.txt
    is installed."""
    read_text_seconds: float = Field(2.0, gt=0)
    """Time for the text of one picture; lines not read by then are left out."""

    max_image_bytes: int = Field(20 * MIB, ge=1)
    max_image_pixels: int = Field(64_000_000, ge=1, le=PILLOW_MAX_PIXELS)
    min_pixels: int | None = Field(None, ge=1)
    """Published encoders: a smaller picture is enlarged. Unset: as preprocessor_config.json says (`size`)."""
    max_pixels: int | None = Field(None, ge=1)
    """Published encoders: a larger picture is shrunk; counts each picture twice, as `size` does."""
    max_batch: int = Field(8, ge=1)
    """Pictures in one forward pass."""
    max_patches: int = Field(32_768, ge=1)
    """Patches in one forward pass of a published encoder; a larger picture goes alone."""
    max_queue: int = Field(64, ge=1)
    """Pictures in work or waiting; one more is refused with QUEUE_FULL."""
    cache_bytes: int = Field(256 * MIB, ge=0)
    """Size of the embedding cache; 0 turns it off."""
    stall_seconds: float = Field(60.0, gt=0)
    """A forward pass that takes longer than this makes the service unhealthy."""

    @field_validator("read_text", mode="before")
    @classmethod
    def _yaml_says_on_with_a_boolean(cls, value: object) -> object:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _picture_fits_message(self) -> Self:
        if self.max_image_bytes >= self.max_message_bytes:
            raise ValueError("max_image_bytes must be smaller than max_message_bytes")
        return self
