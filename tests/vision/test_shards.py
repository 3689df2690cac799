"""Safetensors files, known by their headers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from services.vision.checkpoint import CheckpointError
from services.vision.shards import INDEX, Shards

CPU = torch.device("cpu")
PREFIXES = ("a.", "b.")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_file({"a.x": torch.arange(6.0).view(2, 3), "c.z": torch.ones(4)}, tmp_path / "one.safetensors")
    save_file({"b.y": torch.tensor([7.0, 8.0])}, tmp_path / "two.safetensors")
    save_file({"c.w": torch.ones(1)}, tmp_path / "three.safetensors")
    write_index(tmp_path, {"a.x": "one", "c.z": "one", "b.y": "two", "c.w": "three"})
    return tmp_path


def write_index(folder: Path, files: dict[str, str]) -> None:
    weight_map = {name: f"{file}.safetensors" for name, file in files.items()}
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))


def test_only_the_tensors_asked_for_are_known(folder: Path) -> None:
    shards = Shards.open(folder, PREFIXES)
    assert {name: entry.shape for name, entry in shards.entries.items()} == {"a.x": (2, 3), "b.y": (2,)}
    assert {path.name for path in shards.headers} == {"one.safetensors", "two.safetensors"}


def test_tensors_are_read_as_they_are_in_the_type_asked_for(folder: Path) -> None:
    shards = Shards.open(folder, PREFIXES)
    with shards.reading(shards.entries, CPU, torch.float16) as read:
        assert read("a.x").tolist() == [[0, 1, 2], [3, 4, 5]]
        assert read("b.y").dtype == torch.float16


def test_a_sample_is_of_the_tensor_itself(folder: Path) -> None:
    assert Shards.open(folder, PREFIXES).sample("b.y") == torch.tensor([7.0, 8.0]).numpy().tobytes()
    save_file({"a.long": torch.arange(10_000)}, folder / "model.safetensors")
    (folder / INDEX).unlink()
    sample = torch.frombuffer(bytearray(Shards.open(folder, PREFIXES).sample("a.long")), dtype=torch.int64)
    assert sample.tolist() == list(range(4936, 5064))


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / "two.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"two\.safetensors cannot be read"):
        Shards.open(folder, PREFIXES)


@pytest.mark.parametrize("keep", [0, 4, 20, -1])
def test_a_file_cut_short_is_named(folder: Path, keep: int) -> None:
    path = folder / "two.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"two\.safetensors (is no whole|has [\d,]+ bytes)"):
        Shards.open(folder, PREFIXES)


@pytest.mark.parametrize("data", [b"\xff" * 100, b"\x05" + bytes(7) + b"[1,2]", b"\x04" + bytes(7) + b'{"a"'])
def test_a_file_of_something_else_is_named(folder: Path, data: bytes) -> None:
    (folder / "two.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"two\.safetensors is no"):
        Shards.open(folder, PREFIXES)


def test_a_tensor_that_only_the_index_knows_is_named(folder: Path) -> None:
    write_index(folder, {"a.x": "one", "a.more": "one"})
    with pytest.raises(CheckpointError, match=r"tensor a\.more is missing"):
        Shards.open(folder, PREFIXES)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "no index of tensors"),
        ("[]", "no index of tensors"),
        ('{"weight_map": {"c.z": "one.safetensors"}}', r"knows no tensor a\.\* or b\.\*"),
        ('{"weight_map": {"a.x": "../one.safetensors"}}', "points out of its folder"),
    ],
)
def test_an_index_that_cannot_be_used_is_named(folder: Path, text: str, complaint: str) -> None:
    (folder / INDEX).write_text(text)
    with pytest.raises(CheckpointError, match=complaint):
        Shards.open(folder, PREFIXES)


def test_a_file_lost_after_the_check_is_named(folder: Path) -> None:
    shards = Shards.open(folder, PREFIXES)
    (folder / "one.safetensors").unlink()
    with (
        pytest.raises(CheckpointError, match="weights cannot be loaded"),
        shards.reading(shards.entries, CPU, torch.float32) as read,
    ):
        read("a.x")
