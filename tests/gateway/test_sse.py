"""Server-sent events, and the prompt end of their source."""

import asyncio
import json
from collections.abc import AsyncGenerator

from starlette.types import Message

from gateway.sse import EventStream, event


def test_an_event_is_one_line_of_readable_json() -> None:
    assert event({"text": "红\n苹果"}) == 'data: {"text":"红\\n苹果"}\n\n'.encode()
    assert json.loads(event({"a": [1]}).removeprefix(b"data: ")) == {"a": [1]}


async def test_the_source_is_closed_when_the_client_leaves_between_two_events() -> None:
    closed, sending = asyncio.Event(), asyncio.Event()

    async def source() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield event({})
        finally:
            closed.set()

    async def receive() -> Message:
        await sending.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            sending.set()
            await asyncio.Event().wait()  # the client reads no more

    kept_from_the_collector = source()
    await EventStream(kept_from_the_collector)({"type": "http"}, receive, send)
    assert closed.is_set()
