"""Sizes of the recogniser, as the bundle's config.json gives them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

ARCHITECTURE = "AutoGLMSpeechRecogniser"


@dataclass(frozen=True)
class FeatureConfig:
    """Log-mel features. Lengths in samples; a window longer than the transform is cut to it."""

    sample_rate: int = 22050
    window: int = 551
    hop: int = 220
    fft: int = 512
    mel_bins: int = 40
    preemphasis: float = 0.97
    floor: float = 1e-9
    """Least power of a mel band, so that digital silence stays finite."""


@dataclass(frozen=True)
class StreamingConfig:
    """The branch that hears while somebody speaks: what it adds to each encoder block, and its CTC head."""

    kernel_size: int = 15
    adapter_rank: int = 32
    context_layers: int = 2
    """Blocks of its own after the encoder's, between the states and the CTC head."""
    chunk_frames: int = 12
    """Encoder frames heard at once."""
    left_chunks: int = 10
    """Chunks looked back on."""
    prior_frames: int = 100
    """Weight of the prior in the running normalisation of features."""


@dataclass(frozen=True)
class SpeechConfig:
    """Everything that shapes the weights."""

    features: FeatureConfig
    hidden_size: int
    heads: int
    feed_forward: int
    encoder_layers: int
    decoder_layers: int
    vocabulary_size: int
    streaming: StreamingConfig | None = None
    """None: the bundle has no streaming branch."""
    projector_size: int = 0
    """Width of the language model's embeddings; 0: the bundle has no table into them."""
    comfortable_seconds: float = 15.0
    """Longest stretch heard in one piece: positions beyond it were not trained."""

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Reads what config.json says; keys of other readers are left alone."""
        known = {field.name for field in fields(cls)}
        values = {key: value for key, value in raw.items() if key in known}
        values["features"] = FeatureConfig(**raw["features"])
        if raw.get("streaming") is not None:
            values["streaming"] = StreamingConfig(**raw["streaming"])
        config = cls(**values)
        if config.hidden_size % config.heads:
            raise ValueError("hidden_size must be a multiple of heads")
        return config

    def to_dict(self) -> dict[str, Any]:
        """What config.json says."""
        return {"architectures": [ARCHITECTURE], "model_type": "autoglm_speech"} | asdict(self)

    @classmethod
    def tiny(cls, vocabulary_size: int, projector_size: int = 0) -> Self:
        """A recogniser for tests."""
        return cls(
            features=FeatureConfig(),
            hidden_size=32,
            heads=2,
            feed_forward=48,
            encoder_layers=2,
            decoder_layers=2,
            vocabulary_size=vocabulary_size,
            projector_size=projector_size,
        )
