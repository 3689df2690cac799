"""Weights on disk."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.speech.weights import read_shapes, read_weights, write_weights

CPU = torch.device("cpu")


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"a.weight": torch.randn(8, 64), "a.bias": torch.randn(8), "c.weight": torch.randn(4, 3, 3, 3)}


def test_matrices_come_back_to_within_half_a_step_of_their_row(
    tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    write_weights(tmp_path / "w", weights)
    read = read_weights(tmp_path / "w", CPU, torch.float32)
    assert set(read) == set(weights)
    for name in ("a.weight", "c.weight"):
        step = weights[name].flatten(1).abs().amax(1) / 127
        wrong = (read[name] - weights[name]).flatten(1).abs().amax(1)
        assert (wrong <= 0.51 * step + 1e-3 * step * 127).all()
    assert torch.equal(read["a.bias"], weights["a.bias"].half().float())


def test_shapes_are_read_without_scales(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    write_weights(tmp_path / "w", weights)
    assert read_shapes(tmp_path / "w") == {name: tuple(tensor.shape) for name, tensor in weights.items()}


def test_a_matrix_takes_one_byte_an_element(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    write_weights(tmp_path / "w", weights)
    stored = load_file(tmp_path / "w")
    assert stored["a.weight"].dtype is torch.int8
    assert stored["a.weight_scale"].shape == (8,)


def test_rows_of_zeros_stay_zero(tmp_path: Path) -> None:
    write_weights(tmp_path / "w", {"z": torch.zeros(2, 4)})
    assert torch.equal(read_weights(tmp_path / "w", CPU, torch.float32)["z"], torch.zeros(2, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_they_come_in_the_element_type_they_run_in(tmp_path: Path, dtype: torch.dtype) -> None:
    write_weights(tmp_path / "w", {"a": torch.ones(2, 2), "b": torch.ones(2)})
    assert {tensor.dtype for tensor in read_weights(tmp_path / "w", CPU, dtype).values()} == {dtype}


def test_a_matrix_without_its_scale_cannot_be_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2, 2, dtype=torch.int8)}, tmp_path / "w")
    with pytest.raises(Exception, match="a_scale"):
        read_weights(tmp_path / "w", CPU, torch.float32)
