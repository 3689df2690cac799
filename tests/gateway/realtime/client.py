"""A realtime client that checks each event against the types in `openai`."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import websockets
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from tests.gateway.conftest import Gateway

EVENTS: TypeAdapter[RealtimeServerEvent] = TypeAdapter(RealtimeServerEvent)
RATE = 24_000
PATIENCE_S = 10.0


@dataclass
class Realtime:
    """One connection."""

    socket: websockets.ClientConnection
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def next(self) -> dict[str, Any]:
        """The next event; sound by the types, or the test fails."""
        async with asyncio.timeout(PATIENCE_S):
            event: dict[str, Any] = json.loads(await self.socket.recv())
        EVENTS.validate_python(event)
        self.seen.append(event)
        return event

    async def until(self, kind: str) -> dict[str, Any]:
        """Reads on to the next event of a kind."""
        while (event := await self.next())["type"] != kind:
            pass
        return event

    async def speak(self, seconds: float, piece_s: float = 0.1, value: int = 7) -> None:
        """Appends samples, a piece at a time."""
        for _ in range(round(seconds / piece_s)):
            await self.append(value.to_bytes(2, "little") * int(piece_s * RATE))

    async def append(self, samples: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(samples).decode())

    async def update(self, **session: Any) -> dict[str, Any]:
        """Changes the session; the new one as it is told."""
        await self.send("session.update", session=session)
        updated: dict[str, Any] = (await self.until("session.updated"))["session"]
        return updated

    @property
    def kinds(self) -> list[str]:
        """Of the events so far."""
        return [event["type"] for event in self.seen]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.seen if event["type"] == kind]


@asynccontextmanager
async def connected(gateway: Gateway, query: str = "", **options: Any) -> AsyncIterator[Realtime]:
    """A connection that has been greeted."""
    url = gateway.server.url.replace("http", "ws", 1) + f"/v1/realtime{query}"
    async with websockets.connect(url, proxy=None, max_size=None, **options) as socket:
        realtime = Realtime(socket)
        assert (await realtime.next())["type"] == "session.created"
        yield realtime
