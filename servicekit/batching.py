"""Micro-batching: what waits while one forward pass runs shares the next one.

An idle batcher starts at once; it never waits for company.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Hands `run` at most `max_batch` items at a time, in order of arrival, one batch after the other.

    Together they cost at most `max_cost`; an item that costs more by itself goes alone.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[list[Result]]],
        max_batch: int,
        cost: Callable[[Item], int] = lambda _: 0,
        max_cost: int = 0,
    ):
        self._run = run
        self._max_batch = max_batch
        self._cost = cost
        self._max_cost = max_cost
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._drain: asyncio.Task[None] | None = None
        self._batch_started: float | None = None

    async def submit(self, item: Item) -> Result:
        """The result for one item. A caller that gives up before its batch starts is left out of it."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._run_all())
        return await future

    def busy_seconds(self) -> float:
        """How long the current batch has been running; 0 when none is."""
        return 0.0 if self._batch_started is None else time.monotonic() - self._batch_started

    async def close(self) -> None:
        """Gives up the running batch and everything that waits."""
        if self._drain is not None:
            self._drain.cancel()
            await asyncio.gather(self._drain, return_exceptions=True)
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()

    async def _run_all(self) -> None:
        while batch := self._take():
            self._batch_started = time.monotonic()
            try:
                results = await self._run([item for item, _ in batch])
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            finally:
                self._batch_started = None
                for _, future in batch:
                    future.cancel()  # only does something when this task itself was cancelled

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        room = self._max_cost
        while self._waiting and len(batch) < self._max_batch:
            item, future = self._waiting[0]
            if not future.done():
                room -= self._cost(item)
                if batch and room < 0:
                    break
                batch.append((item, future))
            self._waiting.popleft()
        return batch
