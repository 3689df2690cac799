"""The native family: the encoder's folder of a bundle, checked at once and loaded when told."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from services.vision.checkpoint import CheckpointError, Prepared
from services.vision.images import PREPROCESSOR_VERSION, fit_square, read_picture
from services.vision.model.native import ARCHITECTURE, VisionConfig, VisionEncoder, normalise

READ_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class NativeCheckpoint:
    """A validated checkpoint on disk."""

    folder: Path
    name: str
    config: VisionConfig
    fingerprint: str
    parameter_count: int

    @classmethod
    def open(cls, bundle: Path) -> Self:
        """Checks `bundle`/vision: the architecture, and name and shape of every tensor."""
        folder = bundle / "vision"
        config = _read_config(folder / "config.json")
        expected = {name: tuple(tensor.shape) for name, tensor in _skeleton(config).state_dict().items()}
        _check_shapes(folder / "model.safetensors", expected)
        return cls(
            folder=folder,
            name=bundle.resolve().name,
            config=config,
            fingerprint=f"{bundle.resolve().name}@{_fingerprint(folder)}",
            parameter_count=sum(torch.Size(shape).numel() for shape in expected.values()),
        )

    @property
    def hidden_size(self) -> int:
        """Width of the embeddings."""
        return self.config.hidden_size

    def prepare(self, data: bytes, max_pixels: int) -> Prepared:
        """The picture squeezed into a square, uint8 [side, side, 3]."""
        side = self.config.image_size
        picture = read_picture(data, side=side, max_pixels=max_pixels)
        return Prepared(fit_square(picture.image, side), picture.width, picture.height)

    def load(self, device: torch.device, dtype: torch.dtype) -> VisionEncoder:
        """The encoder with its weights, ready for inference."""
        try:
            tensors = load_file(self.folder / "model.safetensors", device=str(device))
            model = _skeleton(self.config)
            model.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()}, assign=True)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{self.folder / 'model.safetensors'} cannot be loaded: {error}") from error
        model.eval().requires_grad_(False)
        return model.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]

    @torch.inference_mode()
    def embed(
        self, model: nn.Module, batch: Sequence[Prepared], device: torch.device, dtype: torch.dtype
    ) -> list[torch.Tensor]:
        """One forward pass over pictures of one size."""
        pixels_BHW3 = torch.from_numpy(np.stack([prepared.pixels for prepared in batch])).to(device)
        embeddings = model(normalise(pixels_BHW3).to(dtype)).cpu()
        # Rows are copied, or one cached row would keep its whole batch alive.
        return [row.clone() for row in embeddings]


def _skeleton(config: VisionConfig) -> VisionEncoder:
    """The encoder without memory for its weights."""
    with torch.device("meta"):
        return VisionEncoder(config)


def _read_config(path: Path) -> VisionConfig:
    try:
        raw = json.loads(path.read_bytes())
        architecture = (raw.get("architectures") or ["nothing"])[0]
        if architecture != ARCHITECTURE:
            raise CheckpointError(
                f"{path}: architecture {architecture} is not served here; {ARCHITECTURE} is"
            )
        return VisionConfig.from_dict(raw)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} does not describe an encoder: {error}") from error


def _check_shapes(path: Path, expected: dict[str, tuple[int, ...]]) -> None:
    try:
        with safe_open(path, framework="pt") as tensors:
            found = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise CheckpointError(f"{path}: tensor {name} is missing")
        if name not in expected:
            raise CheckpointError(f"{path}: tensor {name} does not belong to the encoder")
        if found[name] != expected[name]:
            raise CheckpointError(
                f"{path}: tensor {name} is {found[name]}, config.json asks for {expected[name]}"
            )


def _fingerprint(folder: Path) -> str:
    """First 16 hex digits of a SHA-256 over everything that decides the embedding of given bytes."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    with (folder / "model.safetensors").open("rb") as weights:
        while block := weights.read(READ_BLOCK):
            digest.update(block)
    digest.update(PREPROCESSOR_VERSION.encode())
    return digest.hexdigest()[:16]
