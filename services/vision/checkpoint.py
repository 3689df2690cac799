"""The seam between the service and its models: what every family of encoders can be asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

GridTHW = tuple[int, int, int]


@dataclass(frozen=True)
class Prepared:
    """One picture as its family's model takes it, and the picture's upright size.

    grid_thw: frames, rows and columns of patches, before any merge, where the family counts patches.
    """

    pixels: np.ndarray
    width: int
    height: int
    grid_thw: GridTHW | None = None

    @property
    def patches(self) -> int:
        """Patches that a forward pass computes for it; 0 where all pictures cost the same."""
        return len(self.pixels) if self.grid_thw else 0


class Checkpoint(Protocol):
    """A model on disk, validated: it prepares pictures at once, and embeds them once loaded."""

    @property
    def folder(self) -> Path:
        """Where the weights are."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def fingerprint(self) -> str:
        """Weights and preprocessor, as `name@hex`."""

    @property
    def parameter_count(self) -> int:
        """Parameters of the encoder."""

    @property
    def hidden_size(self) -> int:
        """Width of the embeddings."""

    def prepare(self, data: bytes, max_pixels: int) -> Prepared:
        """Decodes a picture file; raises InvalidArgument with an IMAGE_ reason."""

    def load(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """Reads the weights, ready for inference."""

    def embed(
        self, model: nn.Module, batch: Sequence[Prepared], device: torch.device, dtype: torch.dtype
    ) -> list[torch.Tensor]:
        """One forward pass for all: an embedding [tokens, hidden] on the CPU for each."""
