"""What teacher forcing lays side by side."""

import torch

from training.speech.reading import NOTHING, written_and_wanted


def test_each_character_is_wanted_after_those_before_it_and_the_boundary_last() -> None:
    written_BN, wanted_BN = written_and_wanted([[5, 6], [7], []])
    assert written_BN.tolist() == [[0, 5, 6], [0, 7, 0], [0, 0, 0]]
    assert wanted_BN.tolist() == [[5, 6, 0], [7, 0, NOTHING], [0, NOTHING, NOTHING]]
    assert written_BN.dtype == torch.long
