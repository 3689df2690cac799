"""Single flight."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from servicekit.flights import SingleFlight


class Work:
    """Counts how often it was started, finished and cancelled; finishes when told."""

    def __init__(self) -> None:
        self.started = self.finished = self.cancelled = 0
        self.release = asyncio.Event()

    async def __call__(self) -> str:
        self.started += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1
        return "done"


def join(flights: SingleFlight[str, str], key: str, work: Callable[[], Awaitable[str]]) -> asyncio.Task[str]:
    return asyncio.create_task(flights.join(key, work))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_at_the_same_time_share_one_run() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    callers = [join(flights, "a", work) for _ in range(5)]
    await settle()
    work.release.set()
    assert await asyncio.gather(*callers) == ["done"] * 5
    assert work.started == 1
    assert len(flights) == 0


async def test_keys_do_not_wait_for_each_other() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    slow, quick = Work(), Work()
    quick.release.set()
    waiting = join(flights, "slow", slow)
    assert await flights.join("quick", quick) == "done"
    assert not waiting.done()
    slow.release.set()
    assert await waiting == "done"


async def test_work_goes_on_while_anybody_waits() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    first, second = join(flights, "a", work), join(flights, "a", work)
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    work.release.set()
    assert await second == "done"
    assert (work.started, work.cancelled) == (1, 0)


async def test_work_is_cancelled_when_nobody_waits() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    callers = [join(flights, "a", work) for _ in range(2)]
    await settle()
    for caller in callers:
        caller.cancel()
    await settle()
    assert (work.cancelled, work.finished) == (1, 0)
    assert len(flights) == 0


async def test_newcomer_does_not_board_abandoned_work() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    abandoned, fresh = Work(), Work()
    leaving = join(flights, "a", abandoned)
    await settle()
    leaving.cancel()
    await asyncio.sleep(0)
    fresh.release.set()
    assert await flights.join("a", fresh) == "done"


async def test_an_error_reaches_everybody_and_is_not_kept() -> None:
    flights: SingleFlight[str, str] = SingleFlight()

    async def fail() -> str:
        await asyncio.sleep(0)
        raise ValueError("no")

    results = await asyncio.gather(*(join(flights, "a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError] * 3
    work = Work()
    work.release.set()
    assert await flights.join("a", work) == "done"


async def test_close_cancels_what_runs() -> None:
    flights: SingleFlight[str, str] = SingleFlight()
    work = Work()
    caller = join(flights, "a", work)
    await settle()
    await flights.close()
    assert work.cancelled == 1
    with pytest.raises(asyncio.CancelledError):
        await caller
