"""What a step takes in."""

from services.llm.engine.blocks import BlockPool
from services.llm.engine.request import Request, Sequence
from services.llm.engine.scheduler import Scheduler


def scheduler(blocks: int = 64, max_batch_tokens: int = 16, max_running: int = 8) -> Scheduler:
    return Scheduler(BlockPool(blocks, 4), max_batch_tokens=max_batch_tokens, max_running=max_running)


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
