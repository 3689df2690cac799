"""The recogniser's folder of a bundle: checked without reading the weights, loaded when told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from servicekit.checkpoint import CheckpointError, check_shapes, fingerprint, read_config
from servicekit.shards import WEIGHTS, Shards
from services.speech.audio import PREPROCESSOR_VERSION
from services.speech.model.config import ARCHITECTURE, SpeechConfig
from services.speech.model.recogniser import RecogniserModel
from services.speech.recogniser import Recogniser
from services.speech.vocabulary import Vocabulary

CONFIG, CHARACTERS = "config.json", "characters.json"


@dataclass(frozen=True)
class Checkpoint:
    """A validated checkpoint on disk."""

    folder: Path
    name: str
    config: SpeechConfig
    vocabulary: Vocabulary
    fingerprint: str
    parameter_count: int
    shards: Shards

    @classmethod
    def open(cls, bundle: Path) -> Self:
        """Checks `bundle`/speech: the architecture, the vocabulary, and name and shape of every tensor."""
        folder, name = bundle / "speech", bundle.resolve().name
        config = _read_config(folder / CONFIG)
        vocabulary = _read_vocabulary(folder / CHARACTERS, config)
        expected = {name: tuple(tensor.shape) for name, tensor in _skeleton(config).state_dict().items()}
        shards = Shards.open(folder)
        check_shapes(folder / WEIGHTS, shards.shapes, expected)
        files = [folder / file for file in (CONFIG, CHARACTERS, WEIGHTS)]
        return cls(
            folder=folder,
            name=name,
            config=config,
            vocabulary=vocabulary,
            fingerprint=fingerprint(name, files, PREPROCESSOR_VERSION.encode()),
            parameter_count=sum(torch.Size(shape).numel() for shape in expected.values()),
            shards=shards,
        )

    def load(self, device: torch.device, dtype: torch.dtype) -> Recogniser:
        """The recogniser with its weights, ready for inference."""
        model = _skeleton(self.config)
        model.load_state_dict(self.shards.read_all(dtype, device), assign=True)
        return Recogniser(model.eval().requires_grad_(False), self.vocabulary)


def _skeleton(config: SpeechConfig) -> RecogniserModel:
    """The recogniser without memory for its weights."""
    with torch.device("meta"):
        return RecogniserModel(config)


def _read_config(path: Path) -> SpeechConfig:
    raw = read_config(path, ARCHITECTURE)
    try:
        return SpeechConfig.from_dict(raw)
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
