"""What shapes a GLM-4 decoder and the gate in front of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


class ConfigError(ValueError):
    """A config.json that this family cannot run."""


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the decoder, with the names of Hugging Face's `Glm4Config`.

    mrope_section: rotary pairs that turn with time, height and width; empty where positions are plain.
    spatial_merge_size: patches along one side of a picture's token, for models with `mrope_section`.
    sliding_window: tokens that a token sees, itself included, besides the first `global_tokens`; 0 sees all.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    partial_rotary_factor: float = 0.5
    attention_bias: bool = True
    tie_word_embeddings: bool = True
    sandwich_norms: bool = True
    gated: bool = True
    eos_token_ids: tuple[int, ...] = ()
    mrope_section: tuple[int, ...] = ()
    spatial_merge_size: int = 1
    sliding_window: int = 0
    global_tokens: int = 0

    def __post_init__(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError("num_attention_heads must be a multiple of num_key_value_heads")
        if self.rotary_dim % 2:
            raise ConfigError("head_dim x partial_rotary_factor must be even")
        if self.mrope_section and 2 * sum(self.mrope_section) != self.rotary_dim:
            raise ConfigError(f"mrope_section {self.mrope_section} must add up to {self.rotary_dim // 2}")
        if min(self.sliding_window, self.global_tokens) < 0:
            raise ConfigError("sliding_window and global_tokens must not be negative")

    @property
    def rotary_dim(self) -> int:
        """Leading channels of each head that rotate with the position."""
        return int(self.head_dim * self.partial_rotary_factor)

    @classmethod
    def tiny(cls, vocab_size: int = 320) -> Self:
        """A model for tests: everything is there, nothing is large."""
        return cls(vocab_size, 32, 64, 2, 4, 2, 8, 512, eos_token_ids=(0,))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a native `config.json`; an unknown architecture is refused by name."""
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        architecture = (raw.get("architectures") or ["nothing"])[0]
        if architecture != ARCHITECTURE:
            raise ConfigError(f"architecture {architecture} is not served here; {ARCHITECTURE} is")
        rope = raw["rope_parameters"]
        return cls(
            **{key: raw[key] for key in _PLAIN_KEYS},
            **{key: raw.get(key, 0) for key in _WINDOW_KEYS},
            rope_theta=rope["rope_theta"],
            partial_rotary_factor=rope["partial_rotary_factor"],
            eos_token_ids=tuple(raw["eos_token_id"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        return {
            "architectures": [ARCHITECTURE],
            **{key: getattr(self, key) for key in (*_PLAIN_KEYS, *_WINDOW_KEYS)},
            "hidden_act": "silu",
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": self.rope_theta,
                "partial_rotary_factor": self.partial_rotary_factor,
            },
            "eos_token_id": list(self.eos_token_ids),
        }


ARCHITECTURE = "AutoGLMForConditionalGeneration"

_PLAIN_KEYS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "attention_bias",
    "tie_word_embeddings",
    "sandwich_norms",
    "gated",
)

_WINDOW_KEYS = ("sliding_window", "global_tokens")
