"""GLM-4 models with random weights, laid out as they are published: a Hugging Face folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tokenizers
import torch

from servicekit import torchaudio_guard

Architecture = Literal["Glm4ForCausalLM", "GlmForCausalLM", "Glm4vForConditionalGeneration"]

ROTARY_SHARE = 0.5
PICTURE_MARKERS = {
    "image_token_id": "<|image|>",
    "video_token_id": "<|video|>",
    "image_start_token_id": "<|begin_of_image|>",
    "image_end_token_id": "<|end_of_image|>",
    "video_start_token_id": "<|begin_of_video|>",
    "video_end_token_id": "<|end_of_video|>",
}
PREPROCESSOR = {
    "image_processor_type": "Glm4vImageProcessor",
    "processor_class": "Glm4vProcessor",
    "do_rescale": True,
    "do_convert_rgb": True,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "size": {"shortest_edge": 112 * 112, "longest_edge": 28 * 28 * 2 * 6144},
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


@dataclass(frozen=True)
class VisionShape:
    """Sizes of an encoder."""

    depth: int
    hidden_size: int
    heads: int
    intermediate_size: int
    image_size: int = 336


@dataclass(frozen=True)
class Shape:
    """Sizes of a text decoder and, for one that sees, of its encoder."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    vision: VisionShape | None = None
    attention_bias: bool = True
    tied: bool = False
    context: int = 4096

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.heads


@dataclass(frozen=True)
class Draw:
    """How weights are drawn: norms around 1, all else around 0; `silent` rows of the head are all zero."""

    std: float
    seed: int = 0
    silent: Sequence[int] = ()


def save_model(
    folder: Path,
    architecture: Architecture,
    shape: Shape,
    draw: Draw,
    tokenizer: tokenizers.Tokenizer,
    stops: Sequence[str],
    *,
    dtype: torch.dtype = torch.float32,
    max_shard_size: str = "5GB",
) -> int:
    """Writes weights and configs; tells the number of parameters. The first of `stops` also pads."""
    torchaudio_guard.install()
    import transformers

    ids = [tokenizer.token_to_id(name) for name in stops]
    model_class: Any = getattr(transformers, architecture)
    model = model_class(model_class.config_class(**_config(shape, tokenizer, ids)))
    _fill(model, draw)
    generation: Any = transformers.GenerationConfig
    model.generation_config = generation(do_sample=False, eos_token_id=ids, pad_token_id=ids[0])
    model.to(dtype).save_pretrained(folder, max_shard_size=max_shard_size)
    if shape.vision:
        (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2))
    return sum(parameter.numel() for parameter in model.parameters())


def save_tokenizer(
    folder: Path, tokenizer: tokenizers.Tokenizer, special: Sequence[str], chat_template: str, context: int
) -> None:
    """Writes what `AutoTokenizer` reads. The first of the special tokens ends a text, and pads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": special[0],
        "pad_token": special[0],
        "additional_special_tokens": list(special),
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "padding_side": "left",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    (folder / "chat_template.jinja").write_text(chat_template)


def _config(shape: Shape, tokenizer: tokenizers.Tokenizer, stops: Sequence[int | None]) -> dict[str, Any]:
    rope: dict[str, Any] = {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": ROTARY_SHARE,
    }
    text = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": 1e-5,
        "attention_bias": shape.attention_bias,
        "tie_word_embeddings": shape.tied,
        "eos_token_id": stops,
        "pad_token_id": stops[0],
        "rope_parameters": rope,
    }
    if not shape.vision:
        return text
    rope["mrope_section"] = _mrope_section(int(shape.head_dim * ROTARY_SHARE) // 2)
    vision = {
        "depth": shape.vision.depth,
        "hidden_size": shape.vision.hidden_size,
        "num_heads": shape.vision.heads,
        "image_size": shape.vision.image_size,
        "patch_size": PREPROCESSOR["patch_size"],
        "spatial_merge_size": PREPROCESSOR["merge_size"],
        "temporal_patch_size": PREPROCESSOR["temporal_patch_size"],
        "intermediate_size": shape.vision.intermediate_size,
        "out_hidden_size": shape.hidden_size,
    }
    markers = {key: tokenizer.token_to_id(name) for key, name in PICTURE_MARKERS.items()}
    return {"text_config": text, "vision_config": vision, "tie_word_embeddings": shape.tied, **markers}


def _mrope_section(pairs: int) -> list[int]:
    """Rotary pairs shared out among time, height and width, in about GLM-4.1V's 8 : 12 : 12."""
    time = pairs // 4
    height = (pairs - time + 1) // 2
    return [time, height, pairs - time - height]


@torch.no_grad()
def _fill(model: Any, draw: Draw) -> None:
    generator = torch.Generator().manual_seed(draw.seed)
    for name, parameter in model.named_parameters():
        is_norm = "norm" in name and name.endswith("weight")
        parameter.normal_(1.0 if is_norm else 0.0, draw.std, generator=generator)
    if draw.silent:
        model.lm_head.weight[list(draw.silent)] = 0.0
