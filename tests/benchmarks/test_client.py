"""Against a server that says exactly what it is told to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from benchmarks.client import Client, Reply, user
from benchmarks.errors import BenchmarkError
from benchmarks.pictures import solid

MODELS = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"data": [{"id": "some-model"}]}'
STREAM = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n"


@asynccontextmanager
async def saying(answer: bytes, models: bytes = MODELS) -> AsyncIterator[str]:
    """A server that gives one answer to every question, and its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(models if head.startswith(b"GET") else answer)
            await writer.drain()
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def reply_to(answer: bytes) -> Reply:
    async with saying(answer) as url, Client(url) as client:
        return await client.ask(user("你好"))


def events(*bodies: dict[str, Any]) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(body).encode() for body in bodies)


def piece(text: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}]}


async def test_an_answer_that_reaches_its_end_is_answered() -> None:
    last = {"choices": [], "usage": {"completion_tokens": 2}, "autoglm": {"receipt": {"steps": 2}}}
    reply = await reply_to(STREAM + events(piece("你"), piece("好"), last) + b"data: [DONE]\n\n")
    assert (reply.outcome, reply.text) == ("answered", "你好")
    assert reply.usage == {"completion_tokens": 2}
    assert reply.receipt == {"steps": 2}
    assert 0 < reply.first_token_s <= reply.total_s


async def test_a_stream_that_breaks_off_is_lost() -> None:
    assert (await reply_to(STREAM + events(piece("你")))).outcome == "lost"


async def test_a_stream_that_ends_with_an_error_is_lost_and_says_why() -> None:
    reply = await reply_to(STREAM + events(piece("你"), {"error": {"code": "INTERNAL"}}))
    assert (reply.outcome, reply.error) == ("lost", {"code": "INTERNAL"})


@pytest.mark.parametrize(("header", "outcome"), [(b"Retry-After: 3\r\n", "refused"), (b"", "lost")])
async def test_a_refusal_must_say_when_to_come_back(header: bytes, outcome: str) -> None:
    head = b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n" + header
    reply = await reply_to(head + b'\r\n{"error": {"code": "QUEUE_FULL"}}')
    assert (reply.outcome, reply.error["code"]) == (outcome, "QUEUE_FULL")


async def test_no_answer_at_all_is_lost() -> None:
    assert (await reply_to(b"")).outcome == "lost"


async def test_a_server_without_models_is_no_server() -> None:
    missing = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"
    async with saying(b"", models=missing) as url:
        with pytest.raises(BenchmarkError, match="No list of models"):
            await Client(url).__aenter__()


def test_pictures_stand_before_the_text_as_what_they_are() -> None:
    picture, text = user("颜色？", solid((1, 2, 3)))["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert text == {"type": "text", "text": "颜色？"}
