"""Single flight: callers who want the same thing at the same time share the work."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class SingleFlight(Generic[Key, Result]):
    """Runs one task per key. A task is cancelled only when nobody waits for it any more."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[Result]] = {}
        self._waiting: dict[asyncio.Task[Result], int] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, key: Key) -> bool:
        return key in self._tasks

    async def join(self, key: Key, work: Callable[[], Awaitable[Result]]) -> Result:
        """The result of the running task for `key`; starts `work` when there is none."""
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.create_task(_run(work))
            self._tasks[key] = task
            self._waiting[task] = 0
            task.add_done_callback(lambda done: self._land(key, done))
        self._waiting[task] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._leave(key, task)

    async def close(self) -> None:
        """Cancels whatever still runs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _leave(self, key: Key, task: asyncio.Task[Result]) -> None:
        self._waiting[task] -= 1
        if self._waiting[task] == 0:
            del self._waiting[task]
            # A newcomer must not board a task that is about to be cancelled.
            self._land(key, task)
            task.cancel()

    def _land(self, key: Key, task: asyncio.Task[Result]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]


async def _run(work: Callable[[], Awaitable[Result]]) -> Result:
    return await work()
