"""The native family: the encoder's folder of a bundle, checked at once and loaded when told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import nn

from servicekit.checkpoint import CheckpointError, check_shapes, fingerprint, read_config
from servicekit.shards import WEIGHTS, Shards
from services.vision.checkpoint import Prepared
from services.vision.images import PREPROCESSOR_VERSION, fit_square, read_picture
from services.vision.model.native import ARCHITECTURE, VisionConfig, VisionEncoder, normalise

CONFIG = "config.json"


@dataclass(frozen=True)
class NativeCheckpoint:
    """A validated checkpoint on disk."""

    folder: Path
    name: str
    config: VisionConfig
    fingerprint: str
    parameter_count: int
    shards: Shards

    @classmethod
    def open(cls, bundle: Path) -> Self:
        """Checks `bundle`/vision: the architecture, and name and shape of every tensor."""
        folder, name = bundle / "vision", bundle.resolve().name
        config = _read_config(folder / CONFIG)
        expected = {name: tuple(tensor.shape) for name, tensor in _skeleton(config).state_dict().items()}
        shards = Shards.open(folder)
        check_shapes(folder / WEIGHTS, shards.shapes, expected)
        return cls(
            folder=folder,
            name=name,
            config=config,
            fingerprint=fingerprint(name, (folder / CONFIG, folder / WEIGHTS), PREPROCESSOR_VERSION.encode()),
            parameter_count=sum(torch.Size(shape).numel() for shape in expected.values()),
            shards=shards,
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
        model = _skeleton(self.config)
        model.load_state_dict(self.shards.read_all(dtype, device), assign=True)
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
    raw = read_config(path, ARCHITECTURE)
    try:
        return VisionConfig.from_dict(raw)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} does not describe an encoder: {error}") from error
