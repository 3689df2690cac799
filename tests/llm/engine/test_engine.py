"""The engine gives the plain pass's tokens, frees what it took, and ends every request once."""

import random
import time
from dataclasses import replace

import pytest
import torch

from services.llm.engine.engine import Engine, EngineConfig, QueueFull, RequestTooLong
from services.llm.engine.request import Event, Finished, FinishReason, Request, SamplingParams
from services.llm.model.decoder import Decoder
from services.llm.model.fusion import GatingUnit
from services.llm.tokenizer import Tokenizer
from tests.llm.engine.questions import Bench, Questions, cache_of, plain_answer, told


@pytest.fixture(scope="module")
def questions(tokenizer: Tokenizer, backbone: tuple[Decoder, GatingUnit]) -> Questions:
    return Questions(tokenizer, *backbone)


@pytest.fixture(scope="module")
def mixed(questions: Questions) -> list[Request]:
    return questions.mixed(24, seed=7)


@pytest.fixture(scope="module")
def plain(decoder: Decoder, mixed: list[Request]) -> dict[str, list[int]]:
    answers = {request.request_id: plain_answer(decoder, request) for request in mixed}
    eos = decoder.config.eos_token_ids
    return {name: answer[:-1] if answer[-1] in eos else answer for name, answer in answers.items()}


@pytest.mark.parametrize(
    "config",
    [
        EngineConfig(),
        EngineConfig(max_running=1),
        EngineConfig(max_batch_tokens=13, max_running=3),
        EngineConfig(max_batch_tokens=40, max_running=8, block_size=4),
        EngineConfig(prefix_cache=False),
        EngineConfig(prefix_cache=False, max_batch_tokens=21, max_running=5, block_size=7),
    ],
    ids=["defaults", "alone", "tiny chunks", "small blocks", "no prefix cache", "odd blocks"],
)
def test_greedy_tokens_equal_the_plain_dense_pass(
    decoder: Decoder, mixed: list[Request], plain: dict[str, list[int]], config: EngineConfig
) -> None:
    bench = Bench(decoder, config)
    assert bench.answer(mixed) == plain
    assert bench.all_blocks_free


def test_the_answers_say_something(plain: dict[str, list[int]]) -> None:
    """Guards the comparison: a model stuck on one token would pass anything."""
    assert len({token for answer in plain.values() for token in answer}) > 30


def test_preemption_recomputes_the_same_answer(decoder: Decoder, questions: Questions) -> None:
    requests = [questions.ask(f"q{i}", bytes([i]), "abc" * i, max_tokens=40) for i in range(6)]
    bench = Bench(decoder, EngineConfig(kv_cache_bytes=cache_of(decoder, blocks=9), prefix_cache=False))
    assert bench.answer(requests) == {request.request_id: told(decoder, request) for request in requests}
    assert bench.engine.stats.preemptions > 0
    assert bench.all_blocks_free


def test_a_picture_asked_about_one_turn_later_is_a_prefix_hit(
    decoder: Decoder, questions: Questions, tokenizer: Tokenizer
) -> None:
    bench = Bench(decoder, EngineConfig())
    first = questions.ask("first", b"\1", "What is this?")
    reply = tokenizer.decode(bench.answer([first])["first"])
    second = questions.ask("second", b"\1", "What is this?", reply, "And its colour?")
    answer = bench.answer([second])["second"]
    assert bench.finished("first").cached_tokens == 0
    assert bench.finished("second").cached_tokens >= len(first.token_ids) // 16 * 16
    assert bench.finished("second").cached_tokens >= first.spans[0][1]
    assert bench.engine.stats.prefix_hit_tokens == bench.finished("second").cached_tokens
    assert plain_answer(decoder, second)[: len(answer)] == answer


def test_same_words_about_another_picture_share_nothing_after_the_picture_begins(
    decoder: Decoder, questions: Questions
) -> None:
    bench = Bench(decoder, EngineConfig(block_size=4))
    bench.answer([questions.ask("first", b"\1", "What is this?")])
    second = questions.ask("second", b"\2", "What is this?")
    answer = bench.answer([second])["second"]
    assert bench.finished("second").cached_tokens <= min(second.salts)
    assert plain_answer(decoder, second)[: len(answer)] == answer


def test_later_words_of_a_gated_message_change_its_name_from_the_first_token(
    decoder: Decoder, questions: Questions
) -> None:
    """The gate looks at the whole message, so equal beginnings are not equal prefixes."""
    bench = Bench(decoder, EngineConfig(block_size=4))
    bench.answer([questions.ask("first", b"\1", "What is this?")])
    second = questions.ask("second", b"\1", "What is that?")
    answer = bench.answer([second])["second"]
    assert bench.finished("second").cached_tokens <= min(second.salts)
    assert plain_answer(decoder, second)[: len(answer)] == answer


def test_cache_salt_keeps_prefixes_apart(decoder: Decoder, questions: Questions) -> None:
    bench = Bench(decoder, EngineConfig())
    for name, salt in (("first", "alice"), ("second", "bob"), ("third", "alice")):
        bench.answer([questions.ask(name, "the very same question", cache_salt=salt)])
    hits = [bench.finished(name).cached_tokens for name in ("first", "second", "third")]
    assert hits[:2] == [0, 0]
    assert hits[2] > 0


def test_a_seeded_answer_does_not_depend_on_the_batch(decoder: Decoder, questions: Questions) -> None:
    sampling = SamplingParams(temperature=1.2, top_p=0.95, top_k=50, seed=11, max_tokens=16)
    seeded = replace(questions.ask("seeded", "tell me more"), sampling=sampling)
    alone = Bench(decoder, EngineConfig()).answer([seeded])["seeded"]
    strangers = [
        replace(request, sampling=replace(sampling, seed=None)) for request in questions.mixed(6, seed=3)
    ]
    assert Bench(decoder, EngineConfig()).answer([*strangers, seeded])["seeded"] == alone
    assert len(set(alone)) > 1


def test_cancellation_frees_the_blocks_at_the_next_step(decoder: Decoder, questions: Questions) -> None:
    bench = Bench(decoder, EngineConfig())
    bench.engine.submit(questions.ask("gone", b"\1", "a long story", max_tokens=400))
    bench.engine.step()
    assert not bench.all_blocks_free
    bench.engine.cancel("gone")
    bench.engine.step()
    assert bench.all_blocks_free
    assert bench.finished("gone").reason is FinishReason.CANCELLED
    bench.engine.cancel("gone")
    assert not bench.engine.step()


def test_a_passed_deadline_ends_a_request(decoder: Decoder, questions: Questions) -> None:
    bench = Bench(decoder, EngineConfig())
    late = replace(questions.ask("late", "hurry", max_tokens=400), deadline=time.monotonic() + 0.05)
    bench.engine.submit(late)
    bench.engine.step()
    time.sleep(0.06)
    bench.run()
    assert bench.finished("late").reason is FinishReason.DEADLINE
    assert bench.all_blocks_free


def test_a_prompt_that_cannot_begin_in_time_is_let_go_at_once(decoder: Decoder, questions: Questions) -> None:
    bench = Bench(decoder, EngineConfig(max_batch_tokens=16, max_running=2))
    bench.engine._scheduler.pace.learn(0, 1, 1000.0)
    hopeless = replace(questions.ask("hopeless", "a" * 60), deadline=time.monotonic() + 60)
    bench.engine.submit(hopeless)
    bench.run()
    assert bench.finished("hopeless").reason is FinishReason.DEADLINE
    assert bench.finished("hopeless").steps == 1


def test_what_happened_is_counted(decoder: Decoder, questions: Questions) -> None:
    bench = Bench(decoder, EngineConfig())
    requests = [questions.ask(f"q{i}", "abc", max_tokens=5) for i in range(3)]
    said = bench.answer(requests)
    stats, seen = bench.engine.stats, bench.engine.distributions
    assert stats.prefill_tokens + stats.prefix_hit_tokens == sum(len(r.token_ids) for r in requests)
    assert seen.queue_seconds.count == 3
    assert seen.step_seconds.count == seen.step_tokens.count == seen.step_sequences.count == stats.steps
    assert seen.token_interval_seconds.count == sum(len(tokens) - 1 for tokens in said.values())
    assert stats.generated_tokens == sum(map(len, said.values()))


def test_higher_priority_runs_first(decoder: Decoder, questions: Questions) -> None:
    bench = Bench(decoder, EngineConfig(max_running=1))
    first, second = questions.ask("first", "a"), questions.ask("second", "b")
    urgent = replace(questions.ask("urgent", "c"), priority=1)
    bench.answer([first, second, urgent])
    ends = [event.request_id for event in bench.events if isinstance(event, Finished)]
    assert ends == ["urgent", "first", "second"]


def test_no_place_is_left_when_the_house_is_full(decoder: Decoder) -> None:
    engine = Engine(decoder, EngineConfig(max_requests=2), lambda events: None)
    with engine.place(), engine.place():
        with pytest.raises(QueueFull), engine.place():
            pass
        assert engine.stats.waiting == 2
    with engine.place():
        assert engine.stats.waiting == 1


def test_what_could_never_run_is_refused(decoder: Decoder, questions: Questions) -> None:
    small = Engine(decoder, EngineConfig(kv_cache_bytes=cache_of(decoder, blocks=2)), lambda events: None)
    with pytest.raises(RequestTooLong, match="tokens do not fit"):
        small.submit(questions.ask("long", "a" * 40))
    narrow = Engine(decoder, EngineConfig(max_batch_tokens=8, max_running=2), lambda events: None)
    with pytest.raises(RequestTooLong, match="medium of 9 tokens"):
        narrow.submit(questions.ask("wide", b"\1", "a"))


def test_a_failing_step_ends_its_requests_and_the_next_one_works(
    decoder: Decoder, questions: Questions
) -> None:
    bench = Bench(decoder, EngineConfig())
    spoiled = replace(questions.ask("spoiled", b"\1", "a"), embeddings_TD=torch.zeros(99, 3))
    bench.engine.submit(spoiled)
    bench.run()
    assert bench.finished("spoiled").reason is FinishReason.FAILED
    assert bench.all_blocks_free
    assert bench.answer([questions.ask("fine", "a")])["fine"]


def test_the_thread_answers_and_stops(decoder: Decoder, questions: Questions) -> None:
    events: list[Event] = []
    engine = Engine(decoder, EngineConfig(), events.extend)
    engine.start()
    requests = questions.mixed(4, seed=1)
    for request in requests:
        engine.submit(request)
    engine.submit(replace(questions.ask("endless", "a"), sampling=SamplingParams(max_tokens=3000)))
    while sum(isinstance(event, Finished) for event in list(events)) < len(requests):
        time.sleep(0.005)
    engine.stop()
    assert engine.silent_seconds == 0
    ends = [event.request_id for event in events if isinstance(event, Finished)]
    assert sorted(ends) == sorted([*(request.request_id for request in requests), "endless"])
    with pytest.raises(RuntimeError, match="stopped"):
        engine.submit(requests[0])


def test_silence_is_counted_only_while_work_is_pending(decoder: Decoder, questions: Questions) -> None:
    bench = Bench(decoder, EngineConfig())
    assert bench.engine.silent_seconds == 0
    bench.engine.submit(questions.ask("stuck", "a"))
    time.sleep(0.02)
    assert bench.engine.silent_seconds >= 0.02
    bench.run()
    assert bench.engine.silent_seconds == 0


def test_random_lengths_and_cancels_leave_all_blocks_free(decoder: Decoder, questions: Questions) -> None:
    rng = random.Random(5)
    config = EngineConfig(kv_cache_bytes=cache_of(decoder, blocks=40), max_batch_tokens=64, max_running=8)
    bench = Bench(decoder, config)
    pool = questions.mixed(30, seed=9)
    submitted: list[str] = []
    for index in range(200):
        request = replace(rng.choice(pool), request_id=f"r{index}", arrival=time.monotonic())
        if rng.random() < 0.1:
            request = replace(request, deadline=time.monotonic() + rng.random() * 0.02)
        bench.engine.submit(request)
        submitted.append(request.request_id)
        if rng.random() < 0.3:
            bench.engine.cancel(rng.choice(submitted))
        if rng.random() < 0.5:
            bench.engine.step()
    bench.run()
    reasons = {bench.finished(name).reason for name in submitted}
    assert {FinishReason.CANCELLED, FinishReason.LENGTH} <= reasons
    assert FinishReason.FAILED not in reasons
    assert bench.all_blocks_free
