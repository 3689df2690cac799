"""Weights as we write them: float16, or matrices in int8 with a float16 scale for each output row."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

SCALE = "_scale"  # behind the name of an int8 matrix
LARGEST = 127
SHORTEST_ROW = 32  # a depthwise kernel of nine numbers saves little in int8, and errs most


def write_weights(path: Path, weights: Mapping[str, torch.Tensor], *, int8: bool) -> None:
    """Writes one safetensors file that `Shards` reads. Vectors and short rows stay float16."""
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        if int8 and tensor.dim() > 1 and tensor[0].numel() >= SHORTEST_ROW:
            stored[name], stored[name + SCALE] = quantise(tensor)
        else:
            stored[name] = tensor.detach().half().contiguous()
    save_file(stored, path, {"format": "pt"})


def quantise(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 values and the float16 scale of each row along axis 0."""
    rows = tensor.detach().float().flatten(1)
    scale = (rows.abs().amax(1) / LARGEST).half().clamp_min(torch.finfo(torch.float16).smallest_normal)
    values = (rows / scale.float()[:, None]).round().clamp(-LARGEST, LARGEST)
    return values.to(torch.int8).view(tensor.shape).contiguous(), scale


def restore(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The float32 tensor of `quantise`."""
    return values.float() * scale.float().view(-1, *[1] * (values.dim() - 1))
