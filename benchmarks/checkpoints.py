"""Random GLM-4 checkpoints as Hugging Face folders, to measure servers on the same weights.

Each byte of a prompt is a token, and so is each word of an answer: greedy answers are plain text, never end
before `max_tokens`, and hold as many pieces as tokens.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tokenizers
import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from servicekit import torchaudio_guard
from services.llm.model.dummy import CHAT_TEMPLATE, SPECIAL_TOKENS, STOPS

WEIGHT_STD = 0.05
CONTEXT = 4096
HEAD_DIM = 64
PREPROCESSOR = {
    "image_processor_type": "Glm4vImageProcessor",
    "processor_class": "Glm4vProcessor",
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "size": {"shortest_edge": 112 * 112, "longest_edge": 28 * 28 * 2 * 6144},
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


@dataclass(frozen=True)
class Shape:
    """Sizes of a text decoder and, for one that sees, of its encoder."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    vision_layers: int = 0
    vision_width: int = 0

    @property
    def architecture(self) -> str:
        return "Glm4vForConditionalGeneration" if self.vision_layers else "Glm4ForCausalLM"


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "tiny": Shape(512, 128, 256, 2, 2, 1),
        "30M": Shape(8192, 512, 1536, 7, 8, 2),
        "400M": Shape(32768, 1024, 4096, 22, 16, 4),
        "tiny-seeing": Shape(512, 128, 256, 2, 2, 1, 1, 64),
        "30M-seeing": Shape(8192, 512, 1536, 7, 8, 2, 8, 384),
    }
)


def save_checkpoint(folder: Path, shape: Shape, dtype: torch.dtype = torch.float32) -> int:
    """Writes weights, tokenizer, chat template and configs; tells the number of parameters."""
    torchaudio_guard.install()
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _save_tokenizer(folder, shape.vocab_size)
    stops = [tokenizer.token_to_id(name) for name in STOPS]
    model_class: Any = getattr(transformers, shape.architecture)
    model = model_class(model_class.config_class(**_config(shape, tokenizer, stops)))
    _draw(model, _unspeakable(tokenizer))
    generation: Any = transformers.GenerationConfig
    model.generation_config = generation(do_sample=False, eos_token_id=stops, pad_token_id=stops[0])
    model.to(dtype).save_pretrained(folder)
    if shape.vision_layers:
        (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return sum(parameter.numel() for parameter in model.parameters())


def _config(shape: Shape, tokenizer: tokenizers.Tokenizer, stops: list[int | None]) -> dict[str, Any]:
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}
    text = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": HEAD_DIM,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "attention_bias": True,
        "tie_word_embeddings": False,
        "eos_token_id": stops,
        "pad_token_id": stops[0],
        "rope_parameters": rope,
    }
    if not shape.vision_layers:
        return text
    rope["mrope_section"] = [4, 6, 6]
    markers = {
        f"{kind}_token_id": tokenizer.token_to_id(name)
        for kind, name in {
            "image": "<|image|>",
            "video": "<|video|>",
            "image_start": "<|begin_of_image|>",
            "image_end": "<|end_of_image|>",
            "video_start": "<|begin_of_video|>",
            "video_end": "<|end_of_video|>",
        }.items()
    }
    vision = {
        "depth": shape.vision_layers,
        "hidden_size": shape.vision_width,
        "num_heads": shape.vision_width // 32,
        "image_size": 336,
        "patch_size": PREPROCESSOR["patch_size"],
        "spatial_merge_size": PREPROCESSOR["merge_size"],
        "temporal_patch_size": PREPROCESSOR["temporal_patch_size"],
        "intermediate_size": 4 * shape.vision_width,
        "out_hidden_size": shape.hidden_size,
    }
    return {"text_config": text, "vision_config": vision, "tie_word_embeddings": False, **markers}


def _save_tokenizer(folder: Path, vocab_size: int) -> tokenizers.Tokenizer:
    words = sorted(pre_tokenizers.ByteLevel.alphabet())
    words += [f"Ġt{index}" for index in range(len(words), vocab_size - len(SPECIAL_TOKENS))]
    vocabulary = {word: index for index, word in enumerate([*words, *SPECIAL_TOKENS])}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS]
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": STOPS[0],
        "pad_token": STOPS[0],
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "padding_side": "left",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return tokenizer


def _unspeakable(tokenizer: tokenizers.Tokenizer) -> list[int]:
    """Ids that end an answer, show nothing, or are only part of a character."""
    ids = range(tokenizer.get_vocab_size())
    texts = (tokenizer.decode([index], skip_special_tokens=True) for index in ids)
    return [index for index, text in zip(ids, texts, strict=True) if not text or "\ufffd" in text]


@torch.no_grad()
def _draw(model: Any, unspeakable: list[int]) -> None:
    """A logit of 0 is never the largest of thousands that are drawn."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        is_norm = "norm" in name and name.endswith("weight")
        parameter.normal_(1.0 if is_norm else 0.0, WEIGHT_STD, generator=generator)
    model.lm_head.weight[unspeakable] = 0.0
