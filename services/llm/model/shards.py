"""The safetensors files of a folder, one or several: known by their headers, read tensor by tensor."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open

INDEX, WEIGHTS = "model.safetensors.index.json", "model.safetensors"
MAX_HEADER_BYTES = 100 << 20  # the format's own limit
LENGTH_BYTES = 8  # of the header, before it
SAMPLE_BYTES = 1024

Shape = tuple[int, ...]
Progress = Callable[[int], None]
"""Told how many more parameters are there."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, partial or foreign; the message says which and where."""


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies, and its shape."""

    path: Path
    shape: Shape
    start: int
    size: int


@dataclass(frozen=True)
class Shards:
    """All tensors of a folder by name; opening reads the headers and checks them against the files' sizes."""

    entries: dict[str, Entry]
    headers: dict[Path, bytes]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Raises CheckpointError where a file is missing, cut short, or not what the index says."""
        weight_map = _read_index(folder)
        names = sorted(set(weight_map.values())) or [WEIGHTS]
        headers = {folder / name: _read_header(folder / name) for name in names}
        entries: dict[str, Entry] = {}
        for path, header in headers.items():
            entries |= _parse_header(path, header)
        for tensor, name in weight_map.items():
            if tensor not in entries or entries[tensor].path.name != name:
                raise CheckpointError(f"{folder / name} holds no {tensor}, which {INDEX} promises")
        return cls(entries, headers)

    def read(
        self, shapes: Mapping[str, Shape], dtype: torch.dtype, device: torch.device, progress: Progress
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Names and tensors, file by file. The tensors are copies: the file may change under a mapped one."""
        by_path = sorted(shapes, key=lambda name: (self.entries[name].path, self.entries[name].start))
        for path, group in groupby(by_path, key=lambda name: self.entries[name].path):
            try:
                with safe_open(path, framework="pt") as file:
                    for name in group:
                        tensor = file.get_tensor(name).to(device, dtype, copy=True)
                        progress(tensor.numel())
                        yield name, tensor
            except (OSError, SafetensorError) as error:
                raise CheckpointError(f"{path} cannot be read: {error}") from error

    def sample(self, name: str) -> bytes:
        """Some bytes from the middle of a tensor: enough to tell two trainings apart."""
        entry = self.entries[name]
        with entry.path.open("rb") as file:
            file.seek(entry.start + max(0, entry.size - SAMPLE_BYTES) // 2)
            return file.read(min(SAMPLE_BYTES, entry.size))


def _read_index(folder: Path) -> dict[str, str]:
    """Tensor to file name; empty for a folder with a single file."""
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        weight_map = json.loads(path.read_bytes())["weight_map"]
        names = {str(tensor): str(name) for tensor, name in weight_map.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is no index of tensors: {error!r}") from error
    if outside := next((name for name in names.values() if Path(name).name != name), None):
        raise CheckpointError(f"{path} points out of its folder, to {outside}")
    return names


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
    entries = {}
    try:
        for name, tensor in json.loads(header).items():
            if name != "__metadata__":
                first, last = tensor["data_offsets"]
                entries[name] = Entry(path, tuple(tensor["shape"]), start + first, last - first)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error!r}") from error
    promised = max((entry.start + entry.size for entry in entries.values()), default=start)
    if (found := path.stat().st_size) != promised:
        raise CheckpointError(
            f"{path} is not a whole safetensors file: {found:,} bytes, its header promises {promised:,}"
        )
    return entries
