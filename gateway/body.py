"""Reading a request within bounds, and noticing that its client has left."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway.errors import ApiError

T = TypeVar("T")


async def read_body(request: Request, max_bytes: int) -> bytearray:
    """The whole body. ApiError 413 before more than `max_bytes` are kept, 499 when the client leaves."""
    too_large = ApiError(413, "request_too_large", f"A body of at most {max_bytes} bytes is taken.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > max_bytes:
                raise too_large
    except ClientDisconnect as error:
        raise _client_left() from error
    return body


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


def _client_left() -> ApiError:
    return ApiError(499, "client_closed_request", "The client left.")


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
