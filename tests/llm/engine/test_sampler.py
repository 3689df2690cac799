"""The next token follows the parameters of its own request."""

from collections import Counter
from typing import Any

import pytest
import torch

from services.llm.engine.request import Request, SamplingParams, Sequence
from services.llm.engine.sampler import Ask, Sampler

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0])


def sequence(prompt: tuple[int, ...] = (), answer: tuple[int, ...] = (), **params: Any) -> Sequence:
    drawn = Sequence(Request("r", list(prompt), SamplingParams(**params)))
    drawn.token_ids += answer
    return drawn


def sample(logits_BV: torch.Tensor, sequences: list[Sequence]) -> list[int]:
    """One token for each, nothing drafted."""
    return [tokens[0] for tokens in verify(logits_BV, sequences, [()] * len(sequences))]


def verify(
    logits_NV: torch.Tensor, sequences: list[Sequence], drafts: list[tuple[int, ...]]
) -> list[list[int]]:
    asks = [Ask(one, guesses) for one, guesses in zip(sequences, drafts, strict=True)]
    return [sampled.tokens for sampled in Sampler().sample(logits_NV, asks)]


def draws(count: int = 2000, **params: Any) -> Counter[int]:
    one = sequence(seed=0, **params)
    return Counter(sample(LOGITS[None], [one])[0] for _ in range(count))


def test_temperature_0_takes_the_likeliest() -> None:
    assert draws(10) == {0: 10}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_softmax(temperature: float) -> None:
    counts = draws(temperature=temperature)
    expected = (LOGITS / temperature).softmax(-1)
    for token, probability in enumerate(expected.tolist()):
        assert counts[token] / 2000 == pytest.approx(probability, abs=0.03)


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


def test_drafts_are_taken_up_to_the_first_wrong_one() -> None:
    logits = torch.eye(5)[[3, 1, 4, 2]]  # the likeliest tokens are 3, 1, 4, 2
    for drafts, expected in [((3, 1, 4), [3, 1, 4, 2]), ((3, 0, 4), [3, 1]), ((0, 1, 4), [3])]:
        assert verify(logits, [sequence()], [drafts]) == [expected]


def test_a_drafted_sequence_leaves_its_neighbours_rows_alone() -> None:
    logits = torch.eye(5)[[3, 1, 2, 4]]
    assert verify(logits, [sequence(), sequence(), sequence()], [(), (1,), ()]) == [[3], [1, 2], [4]]


@pytest.mark.parametrize("drafts", [(1, 0), (0, 2), (4, 4)])
def test_seeded_tokens_do_not_depend_on_the_drafts(drafts: tuple[int, int]) -> None:
    params: dict[str, Any] = {"temperature": 1.5, "seed": 3, "top_p": 0.95}
    plain, drafted = sequence(**params), sequence(**params)
    expected = [sample(LOGITS[None], [plain])[0] for _ in range(60)]
    found: list[int] = []
    while len(found) < 60:
        found += verify(LOGITS.repeat(3, 1), [drafted], [drafts])[0]
    assert found[:60] == expected


def test_penalties_count_the_drafts_before_a_row_and_forget_them() -> None:
    one = sequence((), (0,), frequency_penalty=0.6)
    logits = torch.tensor([2.0, 1.0, 0.9]).repeat(3, 1)  # 0 falls to 1.4, then to 0.8; then 1 falls to 0.4
    sampler = Sampler()
    for _ in range(2):
        assert sampler.sample(logits, [Ask(one, (0, 1))])[0].tokens == [0, 1, 2]
    assert sampler.sample(logits[:1], [Ask(one)])[0].tokens == [0]


def test_penalties_follow_the_answer_as_it_grows() -> None:
    one, sampler = sequence((4,), (), frequency_penalty=0.9), Sampler()
    for _ in range(4):
        one.token_ids += sampler.sample(LOGITS[None], [Ask(one)])[0].tokens
    assert one.token_ids == [4, 0, 0, 1, 2]


def test_logprobs_come_before_temperature_and_penalties() -> None:
    one = sequence((), (0, 0), presence_penalty=1.5, top_logprobs=2)
    (sampled,) = Sampler().sample(LOGITS[None], [Ask(one)])
    expected = LOGITS.log_softmax(-1)
    (logprobs,) = sampled.logprobs
    assert sampled.tokens == [1]
    assert logprobs.logprob == pytest.approx(float(expected[1]))
    assert [token for token, _ in logprobs.top] == [0, 1]
    assert [value for _, value in logprobs.top] == pytest.approx(expected[:2].tolist())


def test_logprobs_are_told_to_those_who_ask_one_per_token() -> None:
    logits = torch.eye(5)[[3, 1, 2]]
    asks = [Ask(sequence()), Ask(sequence(top_logprobs=0), (1,))]
    plain, told = Sampler().sample(logits, asks)
    assert plain.logprobs == []
    assert [(len(told.tokens), len(told.logprobs)), *(p.top for p in told.logprobs)] == [(2, 2), (), ()]


def test_bfloat16_logits_are_taken() -> None:
    rows = [sequence(), sequence(temperature=0.01, seed=1), sequence((), (0, 0), frequency_penalty=0.6)]
    assert sample(LOGITS.bfloat16().repeat(3, 1), rows) == [0, 0, 1]
