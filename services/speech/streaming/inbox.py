"""What a client sends, read by one task: a read that grpc has begun must not be given up half-way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Generic, TypeVar

from servicekit.errors import InvalidArgument

Message = TypeVar("Message")

QUIET_S = 0.2
"""A client that sends nothing for this long is taken to be waiting for an answer."""


class Inbox(Generic[Message]):
    """One message is read ahead; the rest waits at the client until there is room."""

    def __init__(self, messages: AsyncIterator[Message]):
        self._messages = messages
        self._queue: asyncio.Queue[Message | Exception | None] = asyncio.Queue(1)
        self._closed = False
        self._reader = asyncio.create_task(self._read())

    async def next(self, timeout_s: float) -> Message | None:
        """The next message, or None once the client has closed its half.

        Raises TimeoutError, and InvalidArgument for bytes that are no message.
        """
        if self._closed:
            return None
        async with asyncio.timeout(timeout_s):
            message = await self._queue.get()
        self._closed = message is None or isinstance(message, Exception)
        if isinstance(message, Exception):
            raise InvalidArgument("MESSAGE_INVALID", "The bytes are no message of a stream.") from message
        return message

    async def drain(self, longest_s: float) -> None:
        """Throws away what still comes, readable or not, until the client pauses.

        In `grpc.aio` a write that meets the end of the call hides the reason from the client.
        """
        with suppress(TimeoutError, InvalidArgument):
            async with asyncio.timeout(longest_s):
                while await self.next(QUIET_S) is not None:
                    pass

    async def close(self) -> None:
        """Reads no more."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async for message in self._messages:
                await self._queue.put(message)
        except Exception as error:  # whatever grpc and protobuf make of bytes that they cannot read
            await self._queue.put(error)
        await self._queue.put(None)
