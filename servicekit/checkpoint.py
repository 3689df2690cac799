"""A model's folder on disk, whatever the family: its JSON files, its tensors' shapes, its fingerprint."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

NAMED_PROBLEMS = 5

Shape = tuple[int, ...]


class CheckpointError(ValueError):
    """A model on disk that is missing, partial or foreign; the message says which file and why."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or a CheckpointError that names the file."""
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds no object")
    return raw


def architecture_of(config: Mapping[str, Any]) -> str:
    """The class that a config.json names first, or `nothing`."""
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else "nothing"


def read_config(path: Path, architecture: str) -> dict[str, Any]:
    """A config.json of this architecture and no other."""
    raw = read_json(path)
    if (found := architecture_of(raw)) != architecture:
        raise CheckpointError(f"{path}: architecture {found} is not served here; {architecture} is")
    return raw


def check_shapes(where: Path, found: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> None:
    """Raises CheckpointError unless every wanted tensor was found in its shape, and no other."""
    problems = [f"missing {name}" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"unexpected {name}" for name in sorted(found.keys() - wanted.keys())]
    problems += [
        f"{name} is {list(found[name])} instead of {list(wanted[name])}"
        for name in sorted(found.keys() & wanted.keys())
        if found[name] != wanted[name]
    ]
    if problems:
        left_out = len(problems) - NAMED_PROBLEMS
        more = f" and {left_out} more" if left_out > 0 else ""
        raise CheckpointError(f"{where}: {'; '.join(problems[:NAMED_PROBLEMS])}{more}")


def fingerprint(name: str, files: Iterable[Path], *more: bytes) -> str:
    """`name@` and 16 hex digits over whole files, in their order, and whatever else shapes the output."""
    sha = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            sha.update(hashlib.file_digest(file, "sha256").digest())
    for part in more:
        sha.update(part)
    return f"{name}@{sha.hexdigest()[:16]}"
