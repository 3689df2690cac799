"""Weights on disk: matrices in int8 with one float16 scale per output row, everything else in float16."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

SCALE = "_scale"
LARGEST = 127


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, scales left out, without reading any of them."""
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if not name.endswith(SCALE)]  # noqa: SIM118
        return {name: tuple(file.get_slice(name).get_shape()) for name in names}


def read_weights(path: Path, device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All weights in the element type they run in; raises KeyError where an int8 matrix has no scale."""
    weights: dict[str, torch.Tensor] = {}
    with safe_open(path, framework="pt", device=str(device)) as file:
        for name in file.keys():  # noqa: SIM118
            if name.endswith(SCALE):
                continue
            tensor = file.get_tensor(name)
            if tensor.dtype is torch.int8:
                scale = file.get_tensor(name + SCALE).float()
                tensor = tensor.float() * scale.view(-1, *[1] * (tensor.dim() - 1))
            weights[name] = tensor.to(dtype)
    return weights


def write_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Writes weights as `read_weights` reads them."""
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        if tensor.dim() < 2:
            stored[name] = tensor.half().contiguous()
        else:
            stored[name], stored[name + SCALE] = quantise(tensor)
    save_file(stored, path, {"format": "pt"})


def quantise(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 values and the float16 scale of each row along axis 0."""
    rows = tensor.float().flatten(1)
    scale = (rows.abs().amax(1) / LARGEST).half().clamp_min(torch.finfo(torch.float16).smallest_normal)
    values = (rows / scale.float()[:, None]).round().clamp(-LARGEST, LARGEST)
    return values.to(torch.int8).view(tensor.shape).contiguous(), scale
