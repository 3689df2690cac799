"""Reading a request within bounds, and noticing that its client has left."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway.errors import ApiError

T = TypeVar("T")


class BodyReader:
    """Reads bodies of at most `max_bytes` each, and holds at most `max_total_bytes` of them together."""

    def __init__(self, max_bytes: int, max_total_bytes: int):
        self._max_bytes, self._max_total_bytes = max_bytes, max_total_bytes
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """The whole body, counted as held until the block ends; raises what `parts` raises."""
        async with self.parts(request, self._max_bytes) as parts:
            body = bytearray()
            async for part in parts:
                body += part
            yield body

    @asynccontextmanager
    async def parts(self, request: Request, max_bytes: int) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """The body as it arrives, counted as held until the block ends.

        ApiError 413 before more than `max_bytes` are kept, 429 while others hold too much, 499 when the
        client leaves.
        """
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > max_bytes:
            raise _too_large(max_bytes)
        held = 0

        async def bounded() -> AsyncGenerator[bytes, None]:
            nonlocal held
            async for part in request.stream():
                if held + len(part) > max_bytes:
                    raise _too_large(max_bytes)
                if self._held + len(part) > self._max_total_bytes:
                    raise ApiError(429, "QUEUE_FULL", "Too many requests are being read.")
                held += len(part)
                self._held += len(part)
                yield part

        try:
            yield bounded()
        except ClientDisconnect as error:
            raise _client_left() from error
        finally:
            self._held -= held


async def unless_disconnected(request: Request, work: Awaitable[T]) -> T:
    """Awaits `work`, but cancels it and raises ApiError 499 when the client leaves."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise _client_left()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(413, "request_too_large", f"A body of at most {max_bytes} bytes is taken.")


def _client_left() -> ApiError:
    return ApiError(499, "client_closed_request", "The client left.")


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
