"""What a step takes in."""

from typing import Any

import pytest

from services.llm.engine.blocks import BlockPool
from services.llm.engine.pacing import HEADROOM, Pace
from services.llm.engine.request import PRIORITY_SECONDS, Request, SamplingParams, Sequence
from services.llm.engine.scheduler import SPECULATIVE_ANSWERS, Scheduler


def scheduler(blocks: int = 64, max_batch_tokens: int = 16, max_running: int = 8, **more: Any) -> Scheduler:
    return Scheduler(BlockPool(blocks, 4), max_batch_tokens=max_batch_tokens, max_running=max_running, **more)


def sequence(length: int, arrival: float = 0, **more: object) -> Sequence:
    token_ids = [int(1000 * arrival) + i for i in range(length)]
    return Sequence(Request("r", token_ids, arrival=arrival, **more))  # type: ignore[arg-type]


def step(plan: Scheduler) -> list[tuple[float, int, int]]:
    """Arrival, start and end of each chunk; afterwards all is computed, and answers have grown."""
    chunks = plan.schedule()
    for chunk in chunks:
        grows = chunk.completes
        chunk.sequence.computed = chunk.end
        if grows:
            chunk.sequence.token_ids.append(7)
    return [(chunk.sequence.request.arrival, chunk.start, chunk.end) for chunk in chunks]


def test_a_long_prompt_runs_in_chunks_beside_answers() -> None:
    plan = scheduler()
    plan.add(sequence(3, arrival=1))
    assert step(plan) == [(1, 0, 3)]
    plan.add(sequence(25, arrival=2))
    assert step(plan) == [(1, 3, 4), (2, 0, 15)]
    assert step(plan) == [(1, 4, 5), (2, 15, 25)]
    assert step(plan) == [(1, 5, 6), (2, 25, 26)]


def test_no_chunk_ends_inside_a_media_span() -> None:
    plan = scheduler()
    plan.add(sequence(30, spans=((10, 18),)))
    assert [step(plan), step(plan)] == [[(0, 0, 10)], [(0, 10, 26)]]


def test_a_span_that_does_not_fit_beside_answers_is_taken_whole() -> None:
    plan = scheduler()
    for arrival in (1, 2, 3):
        plan.add(sequence(2, arrival))
    step(plan)
    plan.add(sequence(20, arrival=4, spans=((0, 15),)))
    assert step(plan)[-1] == (4, 0, 15)


def test_a_second_span_waits_for_its_turn() -> None:
    plan = scheduler()
    plan.add(sequence(20, arrival=1, spans=((0, 10),)))
    plan.add(sequence(20, arrival=2, spans=((0, 10),)))
    assert step(plan) == [(1, 0, 16)]
    assert step(plan) == [(1, 16, 20), (2, 0, 12)]


def test_newcomers_wait_when_enough_run_or_no_block_is_free() -> None:
    plan = scheduler(max_running=1)
    plan.add(sequence(2, arrival=1))
    plan.add(sequence(2, arrival=2))
    assert step(plan) == [(1, 0, 2)]
    crowded = scheduler(blocks=2)
    crowded.add(sequence(5, arrival=1))
    crowded.add(sequence(2, arrival=2))
    assert step(crowded) == [(1, 0, 5)]
    assert len(crowded.waiting) == 1


def test_the_last_in_rank_is_preempted_and_comes_first_again() -> None:
    plan = scheduler(blocks=4)
    first, second, third = sequence(4, arrival=1), sequence(4, arrival=2), sequence(4, arrival=3)
    for s in (first, second):
        plan.add(s)
    step(plan)
    plan.add(third)
    for _ in range(5):
        step(plan)
    assert second in plan.waiting
    assert second.block_table == []
    assert second.computed == 0
    assert plan.waiting == [second, third]
    assert plan.running == [first]


def test_a_long_prompt_leaves_room_for_those_behind_it() -> None:
    plan = scheduler(blocks=512, max_batch_tokens=128)
    plan.add(sequence(1000, arrival=1))
    assert step(plan) == [(1, 0, 128)]
    plan.add(sequence(20, arrival=2))
    assert step(plan) == [(1, 128, 236), (2, 0, 20)]


def test_a_level_of_priority_is_worth_a_time_of_waiting() -> None:
    plan = scheduler()
    low, urgent, urgent_but_late = (
        sequence(2, arrival=1),
        sequence(2, arrival=2, priority=1),
        sequence(2, arrival=2 + PRIORITY_SECONDS, priority=1),
    )
    for s in (low, urgent_but_late, urgent):
        plan.add(s)
    assert plan.waiting == [urgent, low, urgent_but_late]


def test_a_newcomer_leaves_a_block_for_every_answer_under_way() -> None:
    plan = scheduler(blocks=4)
    plan.add(sequence(4, arrival=1))
    step(plan)
    plan.add(sequence(8, arrival=2))
    assert step(plan) == [(1, 4, 5)], "2 blocks held, 2 free: none would be left"
    assert plan.preemptions == 0


def test_prompts_are_cut_to_the_pace_and_newcomers_wait_for_it() -> None:
    pace = Pace(0.1 / HEADROOM, smallest_chunk=4)
    pace.learn(1, 0, 0.05)
    pace.learn(0, 10, 0.05)
    plan = scheduler(max_batch_tokens=64, pace=pace)
    plan.add(sequence(2, arrival=1))
    step(plan)
    plan.add(sequence(40, arrival=2))
    assert step(plan) == [(1, 2, 3)], "two answers would take all of the time"
    pace.learn(2, 0, 0.06)
    assert step(plan) == [(1, 3, 4), (2, 0, 10)], "half of the time is left, 10 tokens' worth"


def test_guesses_ride_along_while_few_answer() -> None:
    plan = scheduler(speculative_tokens=4)
    plan.add(Sequence(Request("r", [1, 2, 3, 4, 5, 1, 2, 3], SamplingParams(max_tokens=9))))
    (whole,) = plan.schedule()
    whole.sequence.computed = 8
    whole.sequence.token_ids.append(4)
    (chunk,) = plan.schedule()
    assert (chunk.start, chunk.end, chunk.drafts, chunk.token_ids) == (8, 9, (5, 1), [4, 5, 1])
    assert len(chunk.sequence.block_table) * 4 >= 8 + chunk.size
    plan.max_batch_tokens = 3
    assert plan.schedule()[0].drafts == (), "no room beside the answer"
    crowded = scheduler(speculative_tokens=4)
    for arrival in range(SPECULATIVE_ANSWERS + 1):
        crowded.add(sequence(1, arrival))
    for _ in range(4):
        step(crowded)
    assert not any(chunk.drafts for chunk in crowded.schedule())


def test_what_is_known_of_a_prompt_tells_its_first_token() -> None:
    plan = scheduler()
    plan.pace.learn(0, 10, 1.0)
    prompt = sequence(20, arrival=1)
    plan.add(prompt)
    assert plan.seconds_to_first_token(prompt) == 0, "what of it is cached is not known yet"
    step(plan)
    assert plan.seconds_to_first_token(prompt) == pytest.approx(0.4)
