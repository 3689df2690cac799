"""Room for what is in use: bytes that requests hold together. Used from the event loop alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """Bytes that may be held at the same time; who finds no room waits."""

    def __init__(self, capacity: int):
        self.capacity, self.held = capacity, 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, nbytes: int) -> AsyncIterator[None]:
        """Room for `nbytes` at most `capacity`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.held + nbytes <= self.capacity)
            self.held += nbytes
        try:
            yield
        finally:
            self.held -= nbytes
            async with self._changed:
                self._changed.notify_all()
