"""The recogniser's folder of a bundle: checked without reading the weights, loaded when told."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError

from services.speech.audio import PREPROCESSOR_VERSION
from services.speech.model.config import ARCHITECTURE, SpeechConfig
from services.speech.model.recogniser import RecogniserModel
from services.speech.recogniser import Recogniser
from services.speech.vocabulary import Vocabulary
from services.speech.weights import read_shapes, read_weights

READ_BLOCK = 1024 * 1024
CONFIG, CHARACTERS, WEIGHTS = "config.json", "characters.json", "model.safetensors"


class CheckpointError(Exception):
    """The folder holds no recogniser that can be served; the message says which file and why."""


@dataclass(frozen=True)
class Checkpoint:
    """A validated checkpoint on disk."""

    folder: Path
    name: str
    config: SpeechConfig
    vocabulary: Vocabulary
    fingerprint: str
    parameter_count: int

    @classmethod
    def open(cls, bundle: Path) -> Self:
        """Checks `bundle`/speech: the architecture, the vocabulary, and name and shape of every tensor."""
        folder = bundle / "speech"
        config = _read_config(folder / CONFIG)
        vocabulary = _read_vocabulary(folder / CHARACTERS, config)
        expected = {name: tuple(tensor.shape) for name, tensor in _skeleton(config).state_dict().items()}
        _check_shapes(folder / WEIGHTS, expected)
        return cls(
            folder=folder,
            name=bundle.resolve().name,
            config=config,
            vocabulary=vocabulary,
            fingerprint=f"{bundle.resolve().name}@{_fingerprint(folder)}",
            parameter_count=sum(torch.Size(shape).numel() for shape in expected.values()),
        )

    def load(self, device: torch.device, dtype: torch.dtype) -> Recogniser:
        """The recogniser with its weights, ready for inference."""
        try:
            model = _skeleton(self.config)
            model.load_state_dict(read_weights(self.folder / WEIGHTS, device, dtype), assign=True)
        except (OSError, RuntimeError, KeyError, SafetensorError) as error:
            raise CheckpointError(f"{self.folder / WEIGHTS} cannot be loaded: {error}") from error
        return Recogniser(model.eval().requires_grad_(False), self.vocabulary)


def _skeleton(config: SpeechConfig) -> RecogniserModel:
    """The recogniser without memory for its weights."""
    with torch.device("meta"):
        return RecogniserModel(config)


def _read_config(path: Path) -> SpeechConfig:
    try:
        raw = json.loads(path.read_bytes())
        architecture = (raw.get("architectures") or ["nothing"])[0]
        if architecture != ARCHITECTURE:
            raise CheckpointError(
                f"{path}: architecture {architecture} is not served here; {ARCHITECTURE} is"
            )
        return SpeechConfig.from_dict(raw)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} does not describe a recogniser: {error}") from error


def _read_vocabulary(path: Path, config: SpeechConfig) -> Vocabulary:
    try:
        vocabulary = Vocabulary.read(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is no vocabulary: {error}") from error
    if len(vocabulary) != config.vocabulary_size:
        raise CheckpointError(
            f"{path} has {len(vocabulary)} characters, config.json asks for {config.vocabulary_size}"
        )
    return vocabulary


def _check_shapes(path: Path, expected: dict[str, tuple[int, ...]]) -> None:
    try:
        found = read_shapes(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise CheckpointError(f"{path}: tensor {name} is missing")
        if name not in expected:
            raise CheckpointError(f"{path}: tensor {name} does not belong to the recogniser")
        if found[name] != expected[name]:
            raise CheckpointError(
                f"{path}: tensor {name} is {found[name]}, config.json asks for {expected[name]}"
            )


def _fingerprint(folder: Path) -> str:
    """First 16 hex digits of a SHA-256 over everything that decides the embedding of given bytes."""
    digest = hashlib.sha256((folder / CONFIG).read_bytes() + (folder / CHARACTERS).read_bytes())
    with (folder / WEIGHTS).open("rb") as weights:
        while block := weights.read(READ_BLOCK):
            digest.update(block)
    digest.update(PREPROCESSOR_VERSION.encode())
    return digest.hexdigest()[:16]
