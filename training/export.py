"""Writes a trained model as the bundle that the services open."""

import json
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

import torch

from servicekit.shards import WEIGHTS
from servicekit.weights import write_weights
from services.llm.tokenizer import Tokenizer
from services.vision.model.native import VisionConfig
from training.model import JointModel
from training.projector import add_projector
from training.train import text_config


class Part(StrEnum):
    """What is exported; each is a folder of the bundle."""

    VISION = "vision"
    LLM = "llm"


def export(work: Path, bundle: Path, int8: Collection[Part] = ()) -> None:
    """Exports the averaged weights of `work/checkpoint.pt` in float16, the matrices of some parts in int8.

    Where the bundle has a recogniser, its table into the language model is written anew.
    """
    tokenizer = Tokenizer(work / "tokenizer.json")
    model = JointModel(VisionConfig(), text_config(tokenizer))
    model.load_state_dict(
        torch.load(work / "checkpoint.pt", map_location="cpu", weights_only=True)["average"]
    )
    fold_embed_scale(model)
    eyes = model.vision
    _write(bundle / Part.VISION, eyes.state_dict(), eyes.config.to_dict(), int8=Part.VISION in int8)
    text = {
        f"model.{name}": tensor
        for name, tensor in model.decoder.state_dict().items()
        if name != "lm_head.weight"
    }
    text |= {f"gate.{name}": tensor for name, tensor in model.gate.state_dict().items()}
    _write(bundle / Part.LLM, text, model.decoder.config.to_dict(), int8=Part.LLM in int8)
    (bundle / Part.LLM / "tokenizer.json").write_bytes((work / "tokenizer.json").read_bytes())
    if (bundle / "speech").is_dir():
        add_projector(bundle)


@torch.no_grad()
def fold_embed_scale(model: JointModel) -> None:
    """Moves the scale of the embeddings into the tied matrix, and back out of the final norm."""
    model.decoder.embed_tokens.weight.mul_(model.embed_scale)
    model.decoder.norm.weight.div_(model.embed_scale)
    model.embed_scale = 1.0


def _write(folder: Path, tensors: dict[str, torch.Tensor], config: dict[str, object], *, int8: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / WEIGHTS, tensors, int8=int8)
    (folder / "config.json").write_text(
        json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
    )
