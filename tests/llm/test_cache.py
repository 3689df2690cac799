"""Embeddings are bounded in bytes."""

import asyncio

import torch

from services.llm.cache import ByteBudget, Encoding, EncodingCache

KIB = Encoding(torch.zeros(256))


def test_the_least_recently_used_encoding_goes_first() -> None:
    cache = EncodingCache(3 * 1024)
    for key in "abc":
        cache.put(key, KIB)
    assert cache.get("a") is KIB
    cache.put("d", KIB)
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    assert cache.nbytes == 3 * 1024


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = EncodingCache(1000)
    cache.put("a", KIB)
    assert cache.get("a") is None
    assert cache.nbytes == 0


def test_the_same_key_is_counted_once() -> None:
    cache = EncodingCache(3 * 1024)
    cache.put("a", KIB)
    cache.put("a", KIB)
    assert cache.nbytes == 1024


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
