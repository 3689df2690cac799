"""Opens a bundle folder: config.json, model.safetensors, tokenizer.json.

The decoder's tensors have the names of Hugging Face's `Glm4ForCausalLM` (`model.*`, `lm_head.weight` unless
tied), those of the gate are `gate.*`.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from services.llm.model.config import ConfigError, DecoderConfig
from services.llm.model.decoder import Decoder, Rotary
from services.llm.model.fusion import GatingUnit

PREPROCESSOR_VERSION = "native-chat-1"
CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"


class CheckpointError(ValueError):
    """A bundle that is missing, partial or foreign; the message says which and where."""


@dataclass(frozen=True)
class Backbone:
    """What runs: the decoder and, in the native family, its gate."""

    decoder: Decoder
    gate: GatingUnit | None


@dataclass(frozen=True)
class Bundle:
    """A folder whose weights have been checked, but not read.

    encoder_fingerprints: the only encoders it was trained with; empty when the folder does not say.
    """

    folder: Path
    config: DecoderConfig
    fingerprint: str
    encoder_fingerprints: tuple[str, ...]
    parameter_count: int

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Checks that every tensor is there, and no other, in the right shape."""
        for name in (CONFIG, WEIGHTS, TOKENIZER):
            if not (folder / name).is_file():
                raise CheckpointError(f"{folder} holds no {name}")
        raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        try:
            config = DecoderConfig.from_dict(raw)
        except (ConfigError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder / CONFIG} does not describe a decoder: {error}") from error
        found, wanted = _shapes_on_disk(folder / WEIGHTS), _shapes_of(_Parameters(config))
        _compare(folder / WEIGHTS, found, wanted)
        count = sum(torch.Size(shape).numel() for shape in found.values())
        trusted = tuple(raw.get("encoder_fingerprints", ()))
        return cls(folder, config, _fingerprint(folder), trusted, count)

    @property
    def name(self) -> str:
        return self.folder.resolve().parent.name

    def load(self, dtype: torch.dtype, device: torch.device) -> Backbone:
        """Reads the weights."""
        parameters = _Parameters(self.config)
        with safe_open(self.folder / WEIGHTS, framework="pt") as file:
            state = {
                name: file.get_tensor(_stored_name(name)).to(device, dtype)
                for name, _ in parameters.named_parameters()
            }
        parameters.load_state_dict(state, strict=False, assign=True)
        decoder, gate = parameters.decoder, parameters.gate
        if self.config.tie_word_embeddings:
            decoder.lm_head.weight = decoder.embed_tokens.weight
        decoder.rotary = Rotary(self.config).to(device)
        parameters.requires_grad_(False).eval()
        return Backbone(decoder, gate)


class _Parameters(nn.Module):
    """The layout of the file, without storage."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        with torch.device("meta"):
            self.decoder = Decoder(config)
            self.gate = GatingUnit(config.hidden_size) if config.gated else None


Shapes = dict[str, tuple[int, ...]]


def _shapes_of(parameters: _Parameters) -> Shapes:
    return {_stored_name(name): tuple(parameter.shape) for name, parameter in parameters.named_parameters()}


def _stored_name(name: str) -> str:
    """What the file calls a parameter."""
    return name.replace("decoder.lm_head.", "lm_head.").replace("decoder.", "model.")


def _shapes_on_disk(path: Path) -> Shapes:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error


def _compare(path: Path, found: Shapes, wanted: Shapes) -> None:
    problems = [f"missing {name}" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"unexpected {name}" for name in sorted(found.keys() - wanted.keys())]
    problems += [
        f"{name} is {list(found[name])} instead of {list(wanted[name])}"
        for name in sorted(found.keys() & wanted.keys())
        if found[name] != wanted[name]
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"{path}: {'; '.join(problems[:5])}{more}")


def _fingerprint(folder: Path) -> str:
    """Name and first 16 hex digits over everything that shapes the answer."""
    sha = hashlib.sha256()
    for name in (CONFIG, WEIGHTS, TOKENIZER):
        with (folder / name).open("rb") as file:
            sha.update(hashlib.file_digest(file, "sha256").digest())
    sha.update(PREPROCESSOR_VERSION.encode())
    return f"{folder.resolve().parent.name}@{sha.hexdigest()[:16]}"
