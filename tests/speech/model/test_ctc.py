"""The CTC head is read the same whatever the chunks, and a text's fit sums over its paths."""

import itertools
import math

import pytest
import torch

from services.speech.model.ctc import BLANK, BestPath, fit


def one_hot(classes: list[int]) -> torch.Tensor:
    logits = torch.full((len(classes), 4), -10.0)
    logits[range(len(classes)), classes] = 10.0
    return logits.log_softmax(-1)


def test_repeats_are_one_character_and_a_blank_parts_two() -> None:
    path = BestPath().extend(one_hot([BLANK, 2, 2, BLANK, 2, 3, 3, 3]))
    assert path.ids == [2, 2, 3]
    assert [(spike.start, spike.end) for spike in path.spikes] == [(1, 3), (4, 5), (5, 8)]


@pytest.mark.parametrize("cut", range(9))
def test_the_cut_into_chunks_changes_nothing(cut: int) -> None:
    logs = torch.randn(8, 4, generator=torch.Generator().manual_seed(3)).log_softmax(-1)
    assert BestPath().extend(logs[:cut]).extend(logs[cut:]) == BestPath().extend(logs)


def test_a_spike_has_the_highest_probability_of_its_frames() -> None:
    logs = torch.tensor([[0.1, 0.2, 0.6, 0.1], [0.0, 0.1, 0.8, 0.1]]).log()
    (spike,) = BestPath().extend(logs).spikes
    assert (spike.id, spike.start, spike.end) == (2, 0, 2)
    assert spike.probability == pytest.approx(0.8)


def test_a_fit_is_the_sum_over_all_paths() -> None:
    logs = torch.randn(4, 4, generator=torch.Generator().manual_seed(5)).log_softmax(-1)
    total = sum(
        math.exp(sum(logs[frame, current].item() for frame, current in enumerate(path)))
        for path in itertools.product(range(4), repeat=4)
        if BestPath().extend(one_hot(list(path))).ids == [1, 3]
    )
    assert fit(logs, [1, 3]) == pytest.approx(math.log(total), abs=1e-5)


def test_a_text_longer_than_its_frames_does_not_fit() -> None:
    assert fit(one_hot([1, 2]), [1, 2, 3]) == -math.inf


def test_silence_fits_no_text_best() -> None:
    assert fit(one_hot([BLANK, BLANK]), []) == pytest.approx(0, abs=1e-3)
