"""The next token follows the parameters of its own request."""

from collections import Counter
from typing import Any

import pytest
import torch

from services.llm.engine.request import Request, SamplingParams, Sequence
from services.llm.engine.sampler import sample

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0])


def sequence(prompt: tuple[int, ...] = (), answer: tuple[int, ...] = (), **params: Any) -> Sequence:
    drawn = Sequence(Request("r", list(prompt), SamplingParams(**params)))
    drawn.token_ids += answer
    return drawn


def draws(count: int = 4000, **params: Any) -> Counter[int]:
    one = sequence(seed=0, **params)
    return Counter(sample(LOGITS[None], [one])[0] for _ in range(count))


def test_temperature_0_takes_the_likeliest() -> None:
    assert draws(10) == {0: 10}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_softmax(temperature: float) -> None:
    counts = draws(temperature=temperature)
    expected = (LOGITS / temperature).softmax(-1)
    for token, probability in enumerate(expected.tolist()):
        assert counts[token] / 4000 == pytest.approx(probability, abs=0.03)


def test_top_k_keeps_the_k_likeliest() -> None:
    assert set(draws(temperature=2.0, top_k=2)) == {0, 1}
    assert set(draws(temperature=2.0, top_k=99)) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(("top_p", "kept"), [(0.0, {0}), (0.5, {0}), (0.7, {0, 1}), (0.85, {0, 1, 2})])
def test_top_p_keeps_the_smallest_nucleus(top_p: float, kept: set[int]) -> None:
    """Cumulated: 0.56, 0.77, 0.90, 0.97, 1."""
    assert set(draws(temperature=1.0, top_p=top_p)) == kept


def test_each_row_has_its_own_parameters_and_generator() -> None:
    rows = [sequence(), sequence(temperature=1.0, seed=5), sequence(temperature=1.0, seed=6, top_k=1)]
    alone = [sample(LOGITS[None], [sequence(temperature=1.0, seed=5)])[0] for _ in range(3)]
    assert alone == [alone[0]] * 3
    assert sample(LOGITS.repeat(3, 1), rows) == [0, alone[0], 0]


def test_frequency_and_presence_count_the_answer_alone() -> None:
    prompt, answer = (0, 0, 0), (1, 1)
    assert sample(LOGITS[None], [sequence(prompt, answer, frequency_penalty=2.0)]) == [0]
    assert sample(LOGITS[None], [sequence((), (0, 0), frequency_penalty=0.6)]) == [1]
    assert sample(LOGITS[None], [sequence((), (0, 0), presence_penalty=0.6)]) == [0]
    assert sample(LOGITS[None], [sequence((), (0, 0), presence_penalty=1.2)]) == [1]


def test_repetition_counts_the_prompt_too_and_pushes_down_both_signs() -> None:
    assert sample(LOGITS[None], [sequence((0,), (), repetition_penalty=2.5)]) == [1]
    negative = torch.tensor([[-1.0, -1.5]])
    assert sample(negative, [sequence((0,), (), repetition_penalty=2.0)]) == [1]


def test_penalties_leave_the_neighbours_alone() -> None:
    rows = [sequence((), (0, 0), frequency_penalty=1.0), sequence((), (0, 0))]
    assert sample(LOGITS.repeat(2, 1), rows) == [1, 0]
