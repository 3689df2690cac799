"""Opens what `model` names: a native bundle, a published Hugging Face folder, or made-up weights.

A native bundle's `llm` folder holds config.json, model.safetensors and tokenizer.json; of a published folder
only the language model's tensors are looked at, never the vision encoder's. The decoder's tensors have the
names of `Glm4ForCausalLM` (`model.*`, `lm_head.weight` unless tied) or, in `Glm4vForConditionalGeneration`,
stand under `model.language_model.*`; those of the native gate are `gate.*`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import nn

from servicekit.checkpoint import (
    CheckpointError,
    Shape,
    architecture_of,
    check_shapes,
    fingerprint,
    read_json,
)
from servicekit.shards import INDEX, WEIGHTS, Progress, Shards
from services.llm.dummy import DUMMY, DummyCheckpoint
from services.llm.model.config import ConfigError, DecoderConfig
from services.llm.model.decoder import Decoder, Rotary
from services.llm.model.fusion import GatingUnit
from services.llm.model.published import FAMILIES, read_published_config

PREPROCESSOR_VERSION = b"native-chat-1"
CONFIG, TOKENIZER, GENERATION = "config.json", "tokenizer.json", "generation_config.json"
BESIDE_WEIGHTS = (CONFIG, GENERATION, TOKENIZER, "tokenizer_config.json", "chat_template.jinja")
VISION_PREFIXES = ("model.visual.", "visual.")  # since transformers 4.52, and before


class Weights(Protocol):
    """Where tensors come from."""

    def read(
        self, shapes: Mapping[str, Shape], /, dtype: torch.dtype, device: torch.device, progress: Progress
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors, in any order."""


@dataclass(frozen=True)
class Backbone:
    """What runs: the decoder and, in the native family, its gate."""

    decoder: Decoder
    gate: GatingUnit | None


@dataclass(frozen=True)
class Bundle:
    """A model whose weights have been checked, but not read.

    native: ours, with its own chat format; else a published model, or one shaped like it.
    encoder_fingerprints: the only encoders it was trained with; empty when the folder does not say.
    shapes: every tensor it takes, by the name that its parameter has in `layout`.
    """

    folder: Path
    name: str
    native: bool
    config: DecoderConfig
    fingerprint: str
    encoder_fingerprints: tuple[str, ...]
    shapes: Mapping[str, Shape]
    weights: Weights

    @classmethod
    def find(cls, model: Path) -> Self:
        """What a setting names: a native bundle, a published folder, or `dummy:` and a size."""
        if str(model).startswith(DUMMY):
            return cls._dummy(str(model))
        if (model / "llm").is_dir():
            return cls.open(model / "llm")
        if not (model / CONFIG).is_file():
            raise CheckpointError(f"{model} holds neither a bundle's llm folder nor a {CONFIG}")
        return cls.open(model)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Checks that every tensor is there, and no other, in the right shape."""
        weights = INDEX if (folder / INDEX).is_file() else WEIGHTS
        for name in (CONFIG, weights, TOKENIZER):
            if not (folder / name).is_file():
                raise CheckpointError(f"{folder} holds no {name}")
        raw = read_json(folder / CONFIG)
        native = architecture_of(raw) not in FAMILIES
        try:
            config = DecoderConfig.from_dict(raw) if native else _published(folder, raw)
        except (ConfigError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder / CONFIG} does not describe a decoder: {error}") from error
        shards = Shards.open(folder)
        shapes = _shapes_of(config, _decoder_prefix(shards))
        found = {name: shape for name, shape in shards.shapes.items() if native or _wanted(name, config)}
        check_shapes(folder / weights, found, shapes)
        name = (folder.resolve().parent if native else folder.resolve()).name
        if native:
            files = [folder / CONFIG, folder / TOKENIZER, *shards.headers]
            identity = fingerprint(name, files, PREPROCESSOR_VERSION)
        else:
            files = [folder / file for file in BESIDE_WEIGHTS if (folder / file).is_file()]
            identity = fingerprint(name, files, shards.stamp(shapes))
        trusted = tuple(raw.get("encoder_fingerprints", ()))
        return cls(folder, name, native, config, identity, trusted, shapes, shards)

    @classmethod
    def _dummy(cls, model: str) -> Self:
        checkpoint = DummyCheckpoint(model)
        shapes = _shapes_of(checkpoint.config, "model.")
        name = model.replace(":", "-")
        return cls(checkpoint.folder, name, False, checkpoint.config, f"{name}@0", (), shapes, checkpoint)

    @property
    def parameter_count(self) -> int:
        return sum(torch.Size(shape).numel() for shape in self.shapes.values())

    def load(
        self, dtype: torch.dtype, device: torch.device, progress: Progress = lambda count: None
    ) -> Backbone:
        """Reads the weights, each straight to where it is used; `progress` is told how many."""
        layout = _Layout(self.config)
        stored = dict(zip(self.shapes, (name for name, _ in layout.named_parameters()), strict=True))
        read = self.weights.read(self.shapes, dtype, device, progress)
        layout.load_state_dict({stored[name]: tensor for name, tensor in read}, strict=False, assign=True)
        decoder, gate = layout.decoder, layout.gate
        if self.config.tie_word_embeddings:
            decoder.lm_head.weight = decoder.embed_tokens.weight
        decoder.rotary = Rotary(self.config).to(device)
        layout.requires_grad_(False).eval()
        return Backbone(decoder, gate)


class _Layout(nn.Module):
    """The modules of a backbone, without storage."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        with torch.device("meta"):
            self.decoder = Decoder(config)
            self.gate = GatingUnit(config.hidden_size) if config.gated else None


def _shapes_of(config: DecoderConfig, prefix: str) -> dict[str, Shape]:
    """What a checkpoint calls each parameter, and its shape; in the layout's order."""
    return {
        name.replace("decoder.lm_head.", "lm_head.").replace("decoder.", prefix): tuple(parameter.shape)
        for name, parameter in _Layout(config).named_parameters()
    }


def _published(folder: Path, raw: Mapping[str, Any]) -> DecoderConfig:
    generation = folder / GENERATION
    return read_published_config(raw, read_json(generation) if generation.is_file() else {})


def _decoder_prefix(shards: Shards) -> str:
    nested = "model.language_model."
    return nested if any(name.startswith(nested) for name in shards.entries) else "model."


def _wanted(name: str, config: DecoderConfig) -> bool:
    """False for what a published folder may hold beside the decoder's own tensors."""
    spare_head = config.tie_word_embeddings and name == "lm_head.weight"
    return not (spare_head or name.startswith(VISION_PREFIXES) or name.endswith(".inv_freq"))
