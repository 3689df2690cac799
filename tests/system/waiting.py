"""Waiting for what a running process will do in its own time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

TIMEOUT_S = 30.0
POLL_S = 0.05


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = TIMEOUT_S) -> None:
    """Raises TimeoutError when the condition is still false by then."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(POLL_S)
