"""The safetensors files of a folder, one or several: known by their headers, read tensor by tensor."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open

from servicekit.checkpoint import CheckpointError, Shape
from servicekit.weights import SCALE, restore

INDEX, WEIGHTS = "model.safetensors.index.json", "model.safetensors"
MAX_HEADER_BYTES = 100 << 20  # the format's own limit
LENGTH_BYTES = 8  # of the header, before it
SAMPLE_BYTES = 1024

Progress = Callable[[int], None]
"""Told how many more parameters are there."""


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies, its shape, and its element type as the file calls it."""

    path: Path
    shape: Shape
    dtype: str
    start: int
    size: int


@dataclass(frozen=True)
class Shards:
    """Tensors of a folder by name; opening reads the headers and checks them against the files' sizes.

    A matrix in int8 is one tensor here: its scale is no entry, and is applied where the matrix is read.
    """

    entries: dict[str, Entry]
    headers: dict[Path, bytes]

    @classmethod
    def open(cls, folder: Path, prefixes: tuple[str, ...] = ("",)) -> Self:
        """Looks into the files that hold names with one of `prefixes`; the others need not be there.

        Raises CheckpointError where a file is missing, cut short, or not what the index says.
        """
        weight_map = _read_index(folder, prefixes)
        names = sorted(set(weight_map.values())) or [WEIGHTS]
        headers = {folder / name: _read_header(folder / name) for name in names}
        found: dict[str, Entry] = {}
        for path, header in headers.items():
            found |= _parse_header(path, header)
        for tensor, name in weight_map.items():
            if tensor not in found or found[tensor].path.name != name:
                raise CheckpointError(f"{folder / name} holds no {tensor}, which {INDEX} promises")
        entries = {name: entry for name, entry in found.items() if name.startswith(prefixes)}
        return cls(_without_scales(entries), headers)

    @property
    def shapes(self) -> dict[str, Shape]:
        return {name: entry.shape for name, entry in self.entries.items()}

    def read(
        self, names: Iterable[str], dtype: torch.dtype, device: torch.device, progress: Progress
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors, file by file. The tensors are copies: the file may change under a mapped one."""
        by_path = sorted(names, key=lambda name: (self.entries[name].path, self.entries[name].start))
        for path, group in groupby(by_path, key=lambda name: self.entries[name].path):
            try:
                with safe_open(path, framework="pt") as file:
                    for name in group:
                        tensor = file.get_tensor(name)
                        if tensor.dtype is torch.int8:
                            scale = file.get_tensor(name + SCALE)
                            tensor = restore(tensor.to(device), scale.to(device)).to(dtype)
                        else:
                            tensor = tensor.to(device, dtype, copy=True)
                        progress(tensor.numel())
                        yield name, tensor
            except (OSError, RuntimeError, SafetensorError) as error:
                raise CheckpointError(f"{path} cannot be read: {error}") from error

    def read_all(
        self, dtype: torch.dtype = torch.float32, device: torch.device | None = None
    ) -> dict[str, torch.Tensor]:
        """Every tensor by name."""
        return dict(self.read(self.entries, dtype, device or torch.device("cpu"), lambda count: None))

    def stamp(self, names: Iterable[str]) -> bytes:
        """A digest that tells trainings apart without reading gigabytes.

        Headers count whole, the weights by their files' sizes and a kilobyte from the middle of each tensor:
        a changed byte elsewhere goes unnoticed, another training does not.
        """
        sha = hashlib.sha256()
        for path, header in self.headers.items():
            sha.update(header + path.stat().st_size.to_bytes(8))
        for name in names:
            sha.update(self._sample(self.entries[name]))
        return sha.digest()

    def _sample(self, entry: Entry) -> bytes:
        with entry.path.open("rb") as file:
            file.seek(entry.start + max(0, entry.size - SAMPLE_BYTES) // 2)
            return file.read(min(SAMPLE_BYTES, entry.size))


def _read_index(folder: Path, prefixes: tuple[str, ...]) -> dict[str, str]:
    """Tensor to file name, for names with one of `prefixes`; empty for a folder with a single file."""
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        weight_map = json.loads(path.read_bytes())["weight_map"]
        files = {name: str(file) for name, file in weight_map.items() if name.startswith(prefixes)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is no index of tensors: {error!r}") from error
    if not files:
        raise CheckpointError(f"{path} knows no tensor {' or '.join(f'{prefix}*' for prefix in prefixes)}")
    if outside := next((file for file in files.values() if Path(file).name != file), None):
        raise CheckpointError(f"{path} points out of its folder, to {outside}")
    return files


def _read_header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if 0 < length <= MAX_HEADER_BYTES and len(header := file.read(length)) == length:
                return header
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    raise CheckpointError(f"{path} is not a whole safetensors file")


def _parse_header(path: Path, header: bytes) -> dict[str, Entry]:
    start = LENGTH_BYTES + len(header)
    try:
        tensors: dict[str, Any] = json.loads(header)
        tensors.pop("__metadata__", None)
        entries = {name: _entry(path, tensor, start) for name, tensor in tensors.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error!r}") from error
    promised = max((entry.start + entry.size for entry in entries.values()), default=start)
    if (found := path.stat().st_size) != promised:
        raise CheckpointError(
            f"{path} is not a whole safetensors file: {found:,} bytes, its header promises {promised:,}"
        )
    return entries


def _entry(path: Path, tensor: Mapping[str, Any], start: int) -> Entry:
    first, last = tensor["data_offsets"]
    return Entry(path, tuple(tensor["shape"]), tensor["dtype"], start + first, last - first)


def _without_scales(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Raises CheckpointError where an int8 matrix has no scale beside it that fits."""
    scales = set()
    for name, entry in entries.items():
        if entry.dtype != "I8":
            continue
        scale = entries.get(name + SCALE)
        if scale is None or scale.path != entry.path or math.prod(scale.shape) != math.prod(entry.shape[:1]):
            raise CheckpointError(f"{entry.path} holds no {name}{SCALE} that fits the int8 {name}")
        scales.add(name + SCALE)
    return {name: entry for name, entry in entries.items() if name not in scales}
