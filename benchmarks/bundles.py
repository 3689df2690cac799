"""A random bundle with long embeddings: 58 x 58 tokens of 2048 numbers, 26 MiB in float32."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from servicekit.shards import WEIGHTS
from servicekit.weights import write_weights
from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Decoder
from services.llm.model.fusion import GatingUnit
from services.llm.tokenizer import Tokenizer
from services.vision.model.native import VisionConfig, VisionEncoder
from services.vision.model.stem import Stage

HIDDEN_SIZE = 2048
VISION = VisionConfig(
    image_size=232,
    stem_width=8,
    stages=(Stage(1, 3, 2, 1, 8),),
    head_width=16,
    width=16,
    layers=1,
    heads=2,
    merge=1,
    hidden_size=HIDDEN_SIZE,
)


def write_wide_bundle(folder: Path, tokenizer: Path) -> Path:
    """Writes both halves below `folder`, with a copy of the tokenizer, and returns it."""
    torch.manual_seed(0)
    vision, llm = folder / "vision", folder / "llm"
    _write(vision, VISION.to_dict(), VisionEncoder(VISION).state_dict())
    config = DecoderConfig(
        vocab_size=Tokenizer(tokenizer).vocab_size,
        hidden_size=HIDDEN_SIZE,
        intermediate_size=2 * HIDDEN_SIZE,
        num_hidden_layers=1,
        num_attention_heads=16,
        num_key_value_heads=2,
        head_dim=128,
        max_position_embeddings=2 * VISION.tokens,
    )
    tensors = {f"model.{name}": parameter for name, parameter in Decoder(config).named_parameters()}
    tensors |= {f"gate.{name}": parameter for name, parameter in GatingUnit(HIDDEN_SIZE).named_parameters()}
    _write(llm, config.to_dict(), tensors)
    shutil.copy(tokenizer, llm / "tokenizer.json")
    return folder


def _write(folder: Path, config: Mapping[str, object], tensors: Mapping[str, torch.Tensor]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    write_weights(folder / WEIGHTS, tensors, int8=False)
