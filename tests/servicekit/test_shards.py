"""Safetensors files, known by their headers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from servicekit.checkpoint import CheckpointError
from servicekit.shards import INDEX, WEIGHTS, Shards
from servicekit.weights import write_weights

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
    done: list[int] = []
    tensors = dict(shards.read(["b.y", "a.x"], torch.float16, CPU, done.append))
    assert tensors["a.x"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["b.y"].dtype == torch.float16
    assert sorted(done) == [2, 6]


def test_what_was_read_stays_when_the_file_changes(folder: Path) -> None:
    tensors = Shards.open(folder, PREFIXES).read_all()
    with (folder / "two.safetensors").open("r+b") as file:
        file.seek(-8, 2)
        file.write(bytes(8))
    assert tensors["b.y"].tolist() == [7, 8]


def test_a_stamp_tells_trainings_apart(folder: Path) -> None:
    (folder / INDEX).unlink()
    long = torch.arange(10_000)

    def stamp() -> bytes:
        save_file({"a.long": long}, folder / WEIGHTS)
        return Shards.open(folder, PREFIXES).stamp(["a.long"])

    before = stamp()
    assert stamp() == before
    long[4936] += 1  # the first of the kilobyte in the middle
    assert stamp() != before


def test_a_matrix_in_int8_is_one_tensor_of_the_type_asked_for(tmp_path: Path) -> None:
    matrix = torch.linspace(-1, 4, 64).view(2, 32)
    write_weights(tmp_path / WEIGHTS, {"a.w": matrix}, int8=True)
    shards = Shards.open(tmp_path)
    assert shards.shapes == {"a.w": (2, 32)}
    tensor = shards.read_all(torch.bfloat16)["a.w"]
    assert tensor.dtype is torch.bfloat16
    torch.testing.assert_close(tensor.float(), matrix, rtol=0.01, atol=0.02)


def test_a_tensor_that_is_called_a_scale_and_is_none_is_kept(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "a_scale": torch.ones(1)}, tmp_path / WEIGHTS)
    assert set(Shards.open(tmp_path).shapes) == {"a", "a_scale"}


@pytest.mark.parametrize("scale", [{}, {"a_scale": torch.ones(3)}, {"a_scale": torch.ones(2, 2)}])
def test_a_matrix_in_int8_without_its_scale_is_refused(
    tmp_path: Path, scale: dict[str, torch.Tensor]
) -> None:
    save_file({"a": torch.ones(2, 2, dtype=torch.int8), **scale}, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"model\.safetensors holds no a_scale that fits the int8 a"):
        Shards.open(tmp_path)


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / "two.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"two\.safetensors cannot be read"):
        Shards.open(folder, PREFIXES)


@pytest.mark.parametrize("keep", [0, 4, 20, -1])
def test_a_file_cut_short_is_named(folder: Path, keep: int) -> None:
    path = folder / "two.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"two\.safetensors is not a whole safetensors file"):
        Shards.open(folder, PREFIXES)


@pytest.mark.parametrize("data", [b"\xff" * 100, b"\x05" + bytes(7) + b"[1,2]", b"\x04" + bytes(7) + b'{"a"'])
def test_a_file_of_something_else_is_named(folder: Path, data: bytes) -> None:
    (folder / "two.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"two\.safetensors is not a"):
        Shards.open(folder, PREFIXES)


def test_a_tensor_that_only_the_index_knows_is_named(folder: Path) -> None:
    write_index(folder, {"a.x": "one", "a.more": "one"})
    with pytest.raises(CheckpointError, match=r"one\.safetensors holds no a\.more, which model"):
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
    with pytest.raises(CheckpointError, match=r"one\.safetensors cannot be read"):
        shards.read_all()
