"""Whatever the engine does to be fast, the plain pass would have said the same; planted mistakes show.

Batches with strangers, chunks, prefix cache and preemption: test_engine.py.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from services.llm.engine import runner
from services.llm.engine.engine import EngineConfig
from services.llm.engine.request import Finished, Request, SamplingParams
from services.llm.model.decoder import Decoder
from services.llm.model.fusion import GatingUnit
from services.llm.model.paged import Rows
from services.llm.tokenizer import Tokenizer
from tests.bundles import tiny_backbone
from tests.llm.engine.questions import Bench, Questions, cache_of, told

ALONE = EngineConfig(max_running=1)
TOGETHER = EngineConfig(max_running=3, max_batch_tokens=40, block_size=4)


@pytest.fixture(scope="module")
def questions(tokenizer: Tokenizer, backbone: tuple[Decoder, GatingUnit]) -> Questions:
    return Questions(tokenizer, *backbone)


@pytest.fixture(scope="module")
def mixed(questions: Questions) -> list[Request]:
    """Long enough for a random model to repeat itself."""
    return [replace(r, sampling=SamplingParams(max_tokens=40)) for r in questions.mixed(8, seed=3)]


@pytest.fixture(scope="module")
def plain(decoder: Decoder, mixed: list[Request]) -> dict[str, list[int]]:
    return {request.request_id: told(decoder, request) for request in mixed}


def answers(decoder: Decoder, requests: list[Request], config: EngineConfig) -> dict[str, list[int]]:
    bench = Bench(decoder, config)
    said = bench.answer(requests)
    assert bench.all_blocks_free
    return said


@pytest.mark.parametrize("config", [ALONE, TOGETHER], ids=["alone", "together"])
def test_guessing_ahead_changes_nothing_but_the_number_of_steps(
    decoder: Decoder, mixed: list[Request], plain: dict[str, list[int]], config: EngineConfig
) -> None:
    steps = {}
    for guesses in (0, 4):
        bench = Bench(decoder, replace(config, speculative_tokens=guesses))
        assert bench.answer(mixed) == plain
        assert bench.all_blocks_free
        steps[guesses] = bench.engine.stats.steps
        assert bool(bench.engine.stats.accepted_tokens) == bool(guesses)
    assert steps[4] < steps[0]


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(max_tokens=40, frequency_penalty=0.2, repetition_penalty=1.1),
        SamplingParams(max_tokens=40, temperature=0.7, top_p=0.9, seed=5),
    ],
    ids=["penalties", "drawn by a seed"],
)
def test_guesses_change_neither_penalised_nor_drawn_answers(
    decoder: Decoder, mixed: list[Request], sampling: SamplingParams
) -> None:
    requests = [replace(request, sampling=sampling) for request in mixed]
    assert answers(decoder, requests, replace(ALONE, speculative_tokens=0)) == answers(
        decoder, requests, ALONE
    )


def test_logprobs_of_guessed_tokens_are_those_of_the_plain_engine(
    decoder: Decoder, mixed: list[Request]
) -> None:
    request = replace(mixed[0], sampling=SamplingParams(max_tokens=40, top_logprobs=2))
    told_with = []
    for guesses in (0, 4):
        bench = Bench(decoder, EngineConfig(speculative_tokens=guesses))
        bench.answer([request])
        events = [event for event in bench.events if not isinstance(event, Finished)]
        told_with.append([(e.token_id, e.logprobs) for e in events])
        assert all(e.logprobs is not None and e.logprobs.top[0][0] == e.token_id for e in events)
    for (token, one), (other_token, other) in zip(*told_with, strict=True):
        assert token == other_token
        assert one is not None
        assert other is not None
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


def test_a_crowded_cache_changes_no_answer(
    decoder: Decoder, mixed: list[Request], plain: dict[str, list[int]]
) -> None:
    need = max(request.max_length for request in mixed) // 4 + 4
    config = replace(TOGETHER, kv_cache_bytes=cache_of(decoder, need, block_size=4), max_running=8)
    bench = Bench(decoder, config)
    assert bench.answer(mixed) == plain
    assert bench.engine.stats.preemptions > 0


# --- sliding window


@pytest.fixture(scope="module")
def windowed(decoder: Decoder) -> Decoder:
    """The same weights, but each token sees 24 tokens and the first 6."""
    config = replace(decoder.config, sliding_window=24, global_tokens=6)
    return tiny_backbone(config, seed=0)[0]


@pytest.fixture(scope="module")
def plain_windowed(windowed: Decoder, mixed: list[Request]) -> dict[str, list[int]]:
    return {request.request_id: told(windowed, request) for request in mixed}


@pytest.mark.parametrize(
    "config",
    [
        EngineConfig(),
        replace(TOGETHER, speculative_tokens=0),
        TOGETHER,
        replace(TOGETHER, prefix_cache=False),
        replace(ALONE, block_size=5),
    ],
    ids=["defaults", "no guesses", "guesses", "no prefix cache", "odd blocks"],
)
def test_a_window_equals_the_dense_window(
    windowed: Decoder,
    mixed: list[Request],
    plain: dict[str, list[int]],
    plain_windowed: dict[str, list[int]],
    config: EngineConfig,
) -> None:
    assert answers(windowed, mixed, config) == plain_windowed
    assert plain_windowed != plain, "the window matters"


def test_blocks_behind_the_window_are_free_for_others(windowed: Decoder, questions: Questions) -> None:
    bench = Bench(windowed, EngineConfig(block_size=4, prefix_cache=False))
    bench.engine.submit(questions.ask("long", "a" * 100, max_tokens=150))
    bench.engine.step()
    held = []
    while bench.engine.step():
        stats = bench.engine.stats
        held.append(stats.total_blocks - stats.free_blocks)
    # The first 6 tokens in 2 blocks; 24 of the window and up to 5 guessed or new ones, wherever blocks begin.
    assert max(held[:-1]) <= 2 + (24 + 5) // 4 + 2
    assert bench.engine.stats.expired_blocks >= 250 // 4 - max(held)
    assert bench.all_blocks_free


def test_a_prefix_is_found_again_though_its_blocks_had_expired(
    windowed: Decoder, questions: Questions
) -> None:
    bench = Bench(windowed, EngineConfig(block_size=4))
    first = questions.ask("first", "a" * 60, max_tokens=40)
    bench.answer([first])
    again = replace(first, request_id="again")
    assert bench.answer([again])["again"] == told(windowed, first)
    assert bench.finished("again").cached_tokens >= 60
    assert bench.all_blocks_free


# --- planted mistakes


def swapped_blocks(row: Rows) -> Rows:
    table = list(row.block_table)
    table[0], table[-1] = table[-1], table[0]
    return replace(row, block_table=table)


def one_way_spans(row: Rows) -> Rows:
    return replace(row, spans=())


@pytest.mark.parametrize("mistake", [swapped_blocks, one_way_spans])
def test_a_planted_mistake_shows(
    decoder: Decoder,
    mixed: list[Request],
    plain: dict[str, list[int]],
    mistake: Callable[[Rows], Rows],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "Rows", lambda *args: mistake(Rows(*args)))
    assert Bench(decoder, TOGETHER).answer(mixed) != plain


# --- positions in three axes


@pytest.fixture(scope="module")
def turning(decoder: Decoder) -> Decoder:
    """One rotary pair turns with time, one with height."""
    return tiny_backbone(replace(decoder.config, mrope_section=(1, 1)), seed=0)[0]


def with_grid(request: Request) -> Request:
    """A picture of 3 x 3 tokens stands at one time; text goes on behind its longest side."""
    places: list[list[int]] = []
    at, ends = 0, dict(request.spans)
    while (index := len(places)) < len(request.token_ids):
        if index in ends:
            places += [[at, at + i // 3, at + i % 3] for i in range(ends[index] - index)]
            at += 3
        else:
            places.append([at] * 3)
            at += 1
    delta = at - len(request.token_ids)
    return replace(request, positions=torch.tensor(places).T, position_delta=delta)


@pytest.mark.parametrize("config", [ALONE, TOGETHER], ids=["alone", "together"])
def test_positions_in_three_axes_are_carried_into_the_answer(
    turning: Decoder, mixed: list[Request], config: EngineConfig
) -> None:
    requests = [with_grid(request) if request.spans else request for request in mixed]
    plain = {request.request_id: told(turning, request) for request in requests}
    assert answers(turning, requests, config) == plain
    wrong = [replace(r, position_delta=0) for r in requests]
    assert answers(turning, wrong, config) != plain, "a wrong delta shows"
