"""The gate weighs only the messages that carry media, each by itself."""

import pytest
import torch

from services.llm.model.fusion import GatingUnit, Modality, Piece, fuse

TEXT, IMAGE, AUDIO = Modality


@pytest.fixture
def gate() -> GatingUnit:
    torch.manual_seed(0)
    return GatingUnit(8)


def test_text_alone_passes_unchanged(gate: GatingUnit) -> None:
    x_TD = torch.randn(6, 8)
    before = x_TD.clone()
    assert fuse(gate, x_TD, [Piece(0, TEXT, 1, 5)]) == []
    assert torch.equal(x_TD, before)
    weights, scales = gate(x_TD[None], torch.zeros(1, 6, dtype=torch.long))
    assert weights.tolist() == [[1.0, 0.0, 0.0]]
    assert torch.equal(scales, torch.ones(1, 6))


def test_present_modalities_are_scaled_by_weight_times_their_number(gate: GatingUnit) -> None:
    x_TD = torch.randn(8, 8)
    before = x_TD.clone()
    pieces = [Piece(1, IMAGE, 1, 4), Piece(1, TEXT, 5, 7)]
    (message,) = fuse(gate, x_TD, pieces)
    text, image, audio = message.weights
    assert (message.message, audio) == (1, 0.0)
    assert text + image == pytest.approx(1)
    torch.testing.assert_close(x_TD[1:4], before[1:4] * image * 2)
    torch.testing.assert_close(x_TD[5:7], before[5:7] * text * 2)
    assert torch.equal(x_TD[[0, 4, 7]], before[[0, 4, 7]])


def test_equal_weights_are_the_identity(gate: GatingUnit) -> None:
    torch.nn.init.zeros_(gate.proj.weight)
    torch.nn.init.zeros_(gate.proj.bias)
    x_TD = torch.randn(8, 8)
    before = x_TD.clone()
    fuse(gate, x_TD, [Piece(0, IMAGE, 0, 3), Piece(0, AUDIO, 3, 5), Piece(0, TEXT, 5, 8)])
    torch.testing.assert_close(x_TD, before)


def test_a_later_message_never_changes_an_earlier_one(gate: GatingUnit) -> None:
    first = [Piece(0, IMAGE, 0, 3), Piece(0, TEXT, 3, 5)]
    x_TD = torch.randn(10, 8)
    alone_TD = x_TD[:5].clone()
    (alone,) = fuse(gate, alone_TD, first)
    gates = fuse(gate, x_TD, [*first, Piece(2, IMAGE, 6, 8), Piece(2, TEXT, 8, 10)])
    assert torch.equal(x_TD[:5], alone_TD)
    assert gates[0] == alone
    assert gates[1].weights != alone.weights


def test_without_a_gate_nothing_is_scaled() -> None:
    x_TD = torch.randn(4, 8)
    before = x_TD.clone()
    assert fuse(None, x_TD, [Piece(0, IMAGE, 0, 4)]) == []
    assert torch.equal(x_TD, before)
