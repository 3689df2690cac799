"""The recogniser as the bundle holds it, and the branch that is trained on top of it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from servicekit.shards import WEIGHTS, Shards
from servicekit.weights import write_weights
from services.speech.model.config import SpeechConfig, StreamingConfig
from services.speech.model.recogniser import RecogniserModel
from services.speech.model.streaming import StreamingBranch
from services.speech.vocabulary import Vocabulary

CONFIG = "config.json"
CHARACTERS = "characters.json"
BRANCH = "streaming."
DECODER = "decoder.blocks."


def open_bundle(folder: Path, streaming: StreamingConfig | None = None) -> tuple[RecogniserModel, Vocabulary]:
    """The folder's model in float32; with `streaming`, a fresh branch in the place of the folder's own."""
    config = SpeechConfig.from_dict(json.loads((folder / CONFIG).read_bytes()))
    if streaming is not None:
        config = replace(config, streaming=streaming)
    model = RecogniserModel(config)
    weights = Shards.open(folder).read_all()
    if streaming is not None:
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(BRANCH)}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any(not (streaming and name.startswith(BRANCH)) for name in missing):
        raise ValueError(f"{folder} holds another model: missing {missing}, unexpected {unexpected}")
    return model.eval(), Vocabulary.read(folder / CHARACTERS)


def write_branch(folder: Path, branch: StreamingBranch) -> None:
    """Puts the branch into the bundle; what else the bundle holds stays as it is, to the bit."""
    raw = json.loads((folder / CONFIG).read_bytes())
    config = replace(SpeechConfig.from_dict(raw), streaming=branch.config)
    _put(folder, BRANCH, {BRANCH + name: own for name, own in branch.state_dict().items()})
    (folder / CONFIG).write_text(json.dumps(raw | config.to_dict(), indent=2) + "\n", encoding="utf-8")


def write_decoder(folder: Path, model: RecogniserModel) -> None:
    """Puts the blocks of the model's decoder into the bundle; all else stays as it is, to the bit."""
    _put(folder, DECODER, model.state_dict())


def _put(folder: Path, prefix: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Replaces the bundle's weights whose names begin with the prefix."""
    kept = {name: own for name, own in load_file(folder / WEIGHTS).items() if not name.startswith(prefix)}
    partial = folder / f"{WEIGHTS}.partial"
    write_weights(partial, {n: own for n, own in weights.items() if n.startswith(prefix)}, int8=True)
    save_file(kept | load_file(partial), folder / WEIGHTS, {"format": "pt"})
    partial.unlink()
