"""Micro-batching."""

import asyncio

import pytest

from servicekit.batching import Batcher


class Double:
    """Doubles numbers, batch by batch, when told; refuses batches that hold a zero."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.release = asyncio.Event()

    async def __call__(self, batch: list[int]) -> list[int]:
        self.batches.append(batch)
        await self.release.wait()
        if 0 in batch:
            raise ValueError("zero")
        return [2 * number for number in batch]


def submit(batcher: Batcher[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(batcher.submit(number)) for number in numbers]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_idle_batcher_starts_at_once() -> None:
    run = Double()
    [waiting] = submit(Batcher(run, 4), 1)
    await settle()
    assert run.batches == [[1]]
    run.release.set()
    assert await waiting == 2


async def test_what_waits_shares_the_next_batch_up_to_the_limit() -> None:
    run = Double()
    batcher = Batcher(run, 3)
    first = submit(batcher, 1)
    await settle()
    rest = submit(batcher, 2, 3, 4, 5)
    await settle()
    run.release.set()
    assert await asyncio.gather(*first, *rest) == [2, 4, 6, 8, 10]
    assert run.batches == [[1], [2, 3, 4], [5]]


async def test_a_batch_costs_no_more_than_the_limit_unless_one_item_does() -> None:
    run = Double()
    batcher: Batcher[int, int] = Batcher(run, 10, cost=lambda number: number, max_cost=10)
    first = submit(batcher, 1)
    await settle()
    rest = submit(batcher, 4, 6, 1, 50, 2, 8)
    await settle()
    run.release.set()
    assert await asyncio.gather(*first, *rest) == [2, 8, 12, 2, 100, 4, 16]
    assert run.batches == [[1], [4, 6], [1], [50], [2, 8]]


async def test_who_gave_up_is_left_out() -> None:
    run = Double()
    batcher = Batcher(run, 4)
    first = submit(batcher, 1)
    await settle()
    gone, stays = submit(batcher, 2, 3)
    await settle()
    gone.cancel()
    await settle()
    run.release.set()
    assert await asyncio.gather(*first, stays) == [2, 6]
    assert run.batches == [[1], [3]]


async def test_a_failed_batch_fails_its_own_callers_only() -> None:
    run = Double()
    batcher = Batcher(run, 1)
    bad, good = submit(batcher, 0, 1)
    run.release.set()
    with pytest.raises(ValueError, match="zero"):
        await bad
    assert await good == 2


async def test_busy_time_is_known_while_a_batch_runs() -> None:
    run = Double()
    batcher = Batcher(run, 1)
    assert batcher.busy_seconds() == 0
    [waiting] = submit(batcher, 1)
    await asyncio.sleep(0.01)
    assert batcher.busy_seconds() > 0
    run.release.set()
    await waiting
    assert batcher.busy_seconds() == 0


async def test_close_releases_everybody() -> None:
    batcher = Batcher(Double(), 1)
    callers = submit(batcher, 1, 2)
    await settle()
    await batcher.close()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2
