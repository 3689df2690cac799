"""The config.json of published GLM checkpoints, read as a `DecoderConfig`.

Covers what transformers has written over the years: rope settings at the top level, under `rope_scaling` or
under `rope_parameters`; the text half of a vision-language model flat or under `text_config`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.llm.model.config import ConfigError, DecoderConfig


@dataclass(frozen=True)
class Family:
    """What an architecture fixes by its code, or leaves out of its files."""

    sandwich_norms: bool
    partial_rotary_factor: float
    rms_norm_eps: float
    attention_bias: bool | None = None
    mrope_section: tuple[int, ...] = ()


FAMILIES: Mapping[str, Family] = {
    "GlmForCausalLM": Family(sandwich_norms=False, partial_rotary_factor=0.5, rms_norm_eps=1.5625e-7),
    "Glm4ForCausalLM": Family(sandwich_norms=True, partial_rotary_factor=0.5, rms_norm_eps=1.5625e-7),
    "Glm4vForConditionalGeneration": Family(
        sandwich_norms=True,
        partial_rotary_factor=1.0,
        rms_norm_eps=1e-5,
        attention_bias=True,
        mrope_section=(8, 12, 12),
    ),
}

_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
)


def read_published_config(raw: Mapping[str, Any], generation: Mapping[str, Any]) -> DecoderConfig:
    """From config.json and generation_config.json; raises ConfigError or KeyError for what cannot run."""
    family = FAMILIES[raw["architectures"][0]]
    text = {**raw, **(raw.get("text_config") or {})}
    if (activation := text.get("hidden_act", "silu")) != "silu":
        raise ConfigError(f"hidden_act {activation} is not served here; silu is")
    rope = _rope_settings(text)
    sizes = {key: _positive(text, key) for key in _SIZES}
    bias = text.get("attention_bias", True) if family.attention_bias is None else family.attention_bias
    vision = raw.get("vision_config") or {}
    return DecoderConfig(
        **sizes,
        head_dim=text.get("head_dim") or sizes["hidden_size"] // sizes["num_attention_heads"],
        rms_norm_eps=text.get("rms_norm_eps", family.rms_norm_eps),
        rope_theta=rope.get("rope_theta", 10000.0),
        partial_rotary_factor=rope.get("partial_rotary_factor", family.partial_rotary_factor),
        attention_bias=bias,
        # Older files say so in either half.
        tie_word_embeddings=raw.get("tie_word_embeddings", False) or text.get("tie_word_embeddings", False),
        sandwich_norms=family.sandwich_norms,
        gated=False,
        eos_token_ids=_ids(generation.get("eos_token_id"), text.get("eos_token_id")),
        mrope_section=tuple(rope.get("mrope_section", family.mrope_section)) if family.mrope_section else (),
        spatial_merge_size=vision.get("spatial_merge_size", 2) if family.mrope_section else 1,
    )


def _positive(text: Mapping[str, Any], key: str) -> int:
    value = text[key]
    if not isinstance(value, int) or value < 1:
        raise ConfigError(f"{key} is {value}")
    return value


def _rope_settings(text: Mapping[str, Any]) -> dict[str, Any]:
    """All that the file says of rotary positions, newest name first."""
    rope = {key: text[key] for key in ("rope_theta", "partial_rotary_factor") if key in text}
    rope |= text.get("rope_scaling") or {}
    rope |= text.get("rope_parameters") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ConfigError(f"rope type {kind} is not served here; default is")
    return rope


def _ids(*candidates: int | list[int] | None) -> tuple[int, ...]:
    """The first that is given, one id or several."""
    for ids in candidates:
        if ids is not None:
            several = (ids,) if isinstance(ids, int) else tuple(ids)
            if not all(isinstance(one, int) for one in several):
                raise ConfigError(f"eos_token_id is {ids!r}, and no token")
            return several
    return ()
