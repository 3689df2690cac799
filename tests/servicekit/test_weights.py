"""Weights as they are written, in float16 and in int8."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from servicekit.shards import WEIGHTS, Shards
from servicekit.weights import quantise, restore, write_weights


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"a.weight": torch.randn(8, 64), "a.bias": torch.randn(8), "c.weight": torch.randn(4, 4, 3, 3)}


def test_matrices_in_int8_come_back_to_within_half_a_step_of_their_row(
    tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    write_weights(tmp_path / WEIGHTS, weights, int8=True)
    read = Shards.open(tmp_path).read_all()
    assert set(read) == set(weights)
    for name in ("a.weight", "c.weight"):
        largest = weights[name].flatten(1).abs().amax(1)
        wrong = (read[name] - weights[name]).flatten(1).abs().amax(1)
        # Half a step, and what rounding the scale itself to float16 may add at the row's end.
        assert (wrong <= largest * (0.5 / 127 + 2**-11)).all()
    assert torch.equal(read["a.bias"], weights["a.bias"].half().float())


def test_float16_is_what_comes_back_otherwise(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    write_weights(tmp_path / WEIGHTS, weights, int8=False)
    read = Shards.open(tmp_path).read_all()
    for name, tensor in weights.items():
        assert torch.equal(read[name], tensor.half().float()), name


def test_a_matrix_in_int8_takes_one_byte_an_element(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    write_weights(tmp_path / WEIGHTS, weights, int8=True)
    stored = load_file(tmp_path / WEIGHTS)
    assert stored["a.weight"].dtype is torch.int8
    assert stored["a.weight_scale"].shape == (8,)


def test_a_kernel_of_nine_numbers_stays_float16(tmp_path: Path) -> None:
    kernels = torch.randn(64, 1, 3, 3)
    write_weights(tmp_path / WEIGHTS, {"depthwise": kernels}, int8=True)
    assert torch.equal(load_file(tmp_path / WEIGHTS)["depthwise"], kernels.half())


@pytest.mark.parametrize("size", [0.0, 1e-9, 6e4])
def test_rows_of_nothing_and_of_the_largest_numbers_stay_finite(size: float) -> None:
    table = torch.tensor([[size, -size], [1.0, 0.5]])
    restored = restore(*quantise(table))
    assert restored[0].tolist() == pytest.approx(table[0].tolist(), rel=0.01, abs=1e-4)
    assert restored[1].tolist() == pytest.approx([1.0, 0.5], abs=0.005)


def test_what_was_restored_is_stored_as_it_was(weights: dict[str, torch.Tensor]) -> None:
    values, scale = quantise(weights["a.weight"])
    again, same_scale = quantise(restore(values, scale))
    assert torch.equal(again, values)
    assert torch.equal(same_scale, scale)
