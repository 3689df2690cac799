"""Where a model runs, and in which element type. Needs torch, as the codec does."""

import torch

from servicekit.settings import SettingsError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str) -> torch.device:
    """`auto` is the first GPU, or the CPU without one; a GPU that is not there raises SettingsError."""
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"device {name} is not there")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU and bfloat16 on a GPU."""
    return DTYPES[("float32" if device.type == "cpu" else "bfloat16") if name == "auto" else name]
