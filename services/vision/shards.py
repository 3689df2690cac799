"""The safetensors files of a Hugging Face folder: known by their headers, read tensor by tensor."""

import json
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from rich.console import Console
from rich.progress import Progress
from safetensors import SafetensorError, safe_open

from services.vision.checkpoint import CheckpointError

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
MAX_HEADER_BYTES = 100 << 20  # the format's own limit
SAMPLE_BYTES = 1024


@dataclass(frozen=True)
class Entry:
    """Where a tensor is, and its shape."""

    path: Path
    shape: tuple[int, ...]
    start: int
    size: int


class Reader(Protocol):
    """Reads a tensor by its name in the folder."""

    def __call__(self, name: str) -> torch.Tensor: ...


@dataclass(frozen=True)
class Shards:
    """Tensors of a folder by name. Headers are read, and sizes checked; weights are not read."""

    entries: dict[str, Entry]
    headers: dict[Path, bytes]

    @classmethod
    def open(cls, folder: Path, prefixes: tuple[str, ...]) -> Self:
        """Looks into the files that hold names with one of `prefixes`; the others need not be there.

        Raises CheckpointError where a file is missing, cut short or not what the index says.
        """
        weight_map = _weight_map(folder, prefixes)
        paths = sorted({folder / file for file in weight_map.values()}) or [folder / SINGLE]
        entries: dict[str, Entry] = {}
        headers: dict[Path, bytes] = {}
        for path in paths:
            headers[path] = _header(path)
            found = _entries(path, headers[path])
            entries |= {name: entry for name, entry in found.items() if name.startswith(prefixes)}
        for name, file in weight_map.items():
            if name not in entries or entries[name].path != folder / file:
                raise CheckpointError(f"{folder / file}: tensor {name} is missing, which {INDEX} promises")
        return cls(entries, headers)

    def sample(self, name: str) -> bytes:
        """Some bytes from the middle of a tensor: enough to tell two trainings apart."""
        entry = self.entries[name]
        with entry.path.open("rb") as file:
            file.seek(entry.start + max(0, entry.size - SAMPLE_BYTES) // 2)
            return file.read(min(SAMPLE_BYTES, entry.size))

    @contextmanager
    def reading(self, names: Iterable[str], device: torch.device, dtype: torch.dtype) -> Iterator[Reader]:
        """A reader for `names`, with a progress bar on a terminal; CheckpointError when it cannot read."""
        total = sum(self.entries[name].size for name in names)
        bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        with ExitStack() as stack:
            task = stack.enter_context(bar).add_task("Loading weights", total=total)
            files: dict[Path, Any] = {}

            def read(name: str) -> torch.Tensor:
                entry = self.entries[name]
                if entry.path not in files:
                    file = safe_open(entry.path, framework="pt", device=str(device))
                    files[entry.path] = stack.enter_context(file)
                bar.advance(task, entry.size)
                return files[entry.path].get_tensor(name).to(dtype)  # type: ignore[no-any-return]

            try:
                yield read
            except (OSError, RuntimeError, SafetensorError) as error:
                raise CheckpointError(f"The weights cannot be loaded: {error}") from error


def _weight_map(folder: Path, prefixes: tuple[str, ...]) -> dict[str, str]:
    """What the index says about tensors with one of `prefixes`; empty without an index."""
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        weight_map = {
            name: str(file)
            for name, file in json.loads(path.read_bytes())["weight_map"].items()
            if name.startswith(prefixes)
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is no index of tensors: {error!r}") from error
    if not weight_map:
        raise CheckpointError(f"{path} knows no tensor {' or '.join(prefix + '*' for prefix in prefixes)}")
    for file in weight_map.values():
        if Path(file).name != file:
            raise CheckpointError(f"{path} points out of its folder, to {file}")
    return weight_map


def _header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            [length] = struct.unpack("<Q", file.read(8))
            if length <= MAX_HEADER_BYTES and len(header := file.read(length)) == length:
                return header
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except struct.error:
        pass
    raise CheckpointError(f"{path} is no whole safetensors file")


def _entries(path: Path, header: bytes) -> dict[str, Entry]:
    start = 8 + len(header)
    entries = {}
    try:
        for name, tensor in json.loads(header).items():
            if name != "__metadata__":
                first, last = tensor["data_offsets"]
                entries[name] = Entry(path, tuple(tensor["shape"]), start + first, last - first)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} is no safetensors file: {error!r}") from error
    end = max((entry.start + entry.size for entry in entries.values()), default=start)
    if path.stat().st_size != end:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; its header promises {end:,}")
    return entries
