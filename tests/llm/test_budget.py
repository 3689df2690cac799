"""Bytes in use are bounded, and room is given back."""

import asyncio

from services.llm.budget import ByteBudget


async def test_who_finds_no_room_waits_until_there_is() -> None:
    budget, order = ByteBudget(100), []

    async def use(name: str, nbytes: int, release: asyncio.Event) -> None:
        async with budget.hold(nbytes):
            order.append(name)
            await release.wait()

    first, second = asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(use("a", 80, first)), asyncio.create_task(use("b", 30, second))]
    await asyncio.sleep(0.01)
    assert order == ["a"]
    first.set()
    await asyncio.sleep(0.01)
    assert order == ["a", "b"]
    second.set()
    await asyncio.gather(*tasks)
    assert budget.held == 0


async def test_a_waiter_that_gives_up_holds_nothing() -> None:
    budget = ByteBudget(100)
    async with budget.hold(100):
        waiting = asyncio.create_task(budget.hold(1).__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
    assert budget.held == 0
    async with budget.hold(100):
        assert budget.held == 100
