"""Events on their way to the client, bounded: who does not read them is let go."""

import asyncio
import json
import uuid
from typing import Any

from starlette.websockets import WebSocket

from gateway.errors import ApiError

MAX_WAITING = 1024
SEND_TIMEOUT_S = 10.0


class SlowClientError(Exception):
    """The client does not read what it is sent."""


class Outbox:
    """Takes events without waiting; `run` sends them in order."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING)
        self._overflowed = asyncio.Event()

    def emit(self, kind: str, **fields: Any) -> None:
        """One server event; what cannot be held any more ends `run` with SlowClientError."""
        event = {"type": kind, "event_id": new_id("event"), **fields}
        try:
            self._waiting.put_nowait(json.dumps(event, ensure_ascii=False, separators=(",", ":")))
        except asyncio.QueueFull:
            self._overflowed.set()

    def error(self, error: ApiError, client_event_id: str | None = None) -> None:
        """An `error` event; the session goes on."""
        self.emit("error", error={**error.body["error"], "event_id": client_event_id})

    async def run(self, websocket: WebSocket) -> None:
        """Sends until cancelled. Raises SlowClientError, and whatever ends the connection."""
        sending = asyncio.create_task(self._send(websocket))
        overflow = asyncio.create_task(self._overflowed.wait())
        try:
            await asyncio.wait((sending, overflow), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise SlowClientError
            await sending
        finally:
            for task in (sending, overflow):
                task.cancel()
            await asyncio.gather(sending, overflow, return_exceptions=True)

    async def flush(self, websocket: WebSocket) -> None:
        """Sends what is left."""
        while not self._waiting.empty():
            await websocket.send_text(self._waiting.get_nowait())

    async def _send(self, websocket: WebSocket) -> None:
        while True:
            event = await self._waiting.get()
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await websocket.send_text(event)
            except TimeoutError as error:
                raise SlowClientError from error


def new_id(prefix: str) -> str:
    """An id such as `item_...`, as OpenAI names its objects."""
    return f"{prefix}_{uuid.uuid4().hex[:24]}"
