"""What may be drawn is the nucleus of the top k, whoever else is in the batch and however it is found."""

from typing import Any

import pytest
import torch

from services.llm.engine.candidates import SHORTLIST, Candidates, candidates
from services.llm.engine.request import SamplingParams

VOCABULARY = 4 * SHORTLIST
WARM = SamplingParams(temperature=1.0)


def likely(found: Candidates) -> dict[int, float]:
    """Probability of each token that may be drawn."""
    weights = found.cumulative_C.diff(prepend=torch.zeros(1)) / found.cumulative_C[-1]
    ids = range(len(weights)) if found.ids_C is None else found.ids_C.tolist()
    return {token: weight for token, weight in zip(ids, weights.tolist(), strict=True) if weight > 0}


def expected(logits_V: torch.Tensor, params: SamplingParams) -> dict[int, float]:
    """The definition, token by token."""
    order = logits_V.argsort(descending=True)[: params.top_k or None]
    probabilities = (logits_V[order] / params.temperature).softmax(-1)
    kept: dict[int, float] = {}
    mass = 0.0
    for token, probability in zip(order.tolist(), probabilities.tolist(), strict=True):
        if kept and mass >= params.top_p:
            break
        kept[token] = probability
        mass += probability
    return {token: probability / mass for token, probability in kept.items()}


@pytest.mark.parametrize(
    "params",
    [
        WARM,
        SamplingParams(temperature=0.7, top_k=5),
        SamplingParams(temperature=1.0, top_p=0.85),
        SamplingParams(temperature=3.0, top_p=0.97),
        SamplingParams(temperature=1.0, top_k=2 * SHORTLIST, top_p=0.99),
        SamplingParams(temperature=1.0, top_p=0.0),
    ],
    ids=["all", "top k", "narrow nucleus", "nucleus beyond the shortlist", "wide top k", "likeliest"],
)
def test_candidates_follow_the_definition(params: SamplingParams) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, VOCABULARY) * 2
    for row, found in enumerate(candidates(logits, [params] * 3)):
        assert likely(found) == pytest.approx(expected(logits[row], params), rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("temperature", [1e-3, 1e-37, 1e-38, 1e-45])
@pytest.mark.parametrize("cut", [{}, {"top_p": 0.9}, {"top_k": 5}], ids=str)
def test_next_to_no_temperature_takes_the_likeliest(temperature: float, cut: dict[str, Any]) -> None:
    torch.manual_seed(2)
    logits = torch.randn(1, VOCABULARY) * 5
    (found,) = candidates(logits, [SamplingParams(temperature=temperature, **cut)])
    assert {found.draw(number) for number in (0.0, 0.5, 0.999_999)} == {int(logits.argmax())}


def test_a_row_does_not_depend_on_the_others() -> None:
    torch.manual_seed(1)
    logits = torch.randn(4, VOCABULARY)
    mixed = [WARM, SamplingParams(temperature=1.0, top_p=0.9), SamplingParams(temperature=1.0, top_k=3), WARM]
    for row, found in enumerate(candidates(logits, mixed)):
        (alone,) = candidates(logits[row : row + 1], [mixed[row]])
        assert torch.equal(found.cumulative_C, alone.cumulative_C)


def test_numbers_at_the_edges_draw_what_weighs_something() -> None:
    found = Candidates(torch.tensor([0.0, 0.25, 0.5, 0.5]), torch.tensor([9, 7, 8, 6]))
    assert [found.draw(number) for number in (0.0, 0.49, 0.5, 0.999999999)] == [7, 7, 8, 8]
