"""What waits to be sent to a client, bounded; a client that stops reading is given up."""

import asyncio
from dataclasses import replace

from servicekit.errors import ResourceExhausted
from services.speech.streaming.updates import Update

CAPACITY = 64


class Outbox:
    """Filled by the tasks of one stream, emptied by the call."""

    def __init__(self, stall_s: float):
        self._stall_s = stall_s
        self._queue: asyncio.Queue[Update | None] = asyncio.Queue(CAPACITY)
        self._processed_s = 0.0
        self._abandoned = False

    async def put(self, update: Update) -> None:
        """Raises ResourceExhausted when nothing has been taken out for too long."""
        self._processed_s = max(self._processed_s, update.processed_s)
        await self._put(replace(update, processed_s=self._processed_s))

    async def close(self) -> None:
        """Nothing more will come."""
        await self._put(None)

    async def take(self) -> Update | None:
        """The next update; None at the end."""
        return await self._queue.get()

    def abandon(self) -> None:
        """The call is over: what is put from now on is not kept, and nobody waits for room."""
        self._abandoned = True
        while not self._queue.empty():
            self._queue.get_nowait()

    async def _put(self, item: Update | None) -> None:
        if self._abandoned:
            return
        try:
            async with asyncio.timeout(self._stall_s):
                await self._queue.put(item)
        except TimeoutError as error:
            raise ResourceExhausted("RESULTS_UNREAD", "Nobody reads the results of this stream.") from error
