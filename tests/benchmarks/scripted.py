"""A server that says exactly what it is told to."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

MODELS = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"data": [{"id": "some-model"}]}'
STREAM = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n"
DONE = b"data: [DONE]\n\n"

Body = dict[str, Any]


@asynccontextmanager
async def saying(answer: Callable[[Body], bytes], models: bytes = MODELS) -> AsyncIterator[str]:
    """A server that answers questions by their bodies, and its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(models if head.startswith(b"GET") else answer(await _body(head, reader)))
            await writer.drain()
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _body(head: bytes, reader: asyncio.StreamReader) -> Body:
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    body: Body = json.loads(await reader.readexactly(int(lengths[0].split(b":")[1])))
    return body


def events(*bodies: Body) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(body).encode() for body in bodies)


def piece(text: str) -> Body:
    return {"choices": [{"delta": {"content": text}}]}


def whole(*pieces: str) -> bytes:
    """An answer that reaches its end."""
    usage = {"choices": [], "usage": {"completion_tokens": len(pieces)}}
    return STREAM + events(*map(piece, pieces), usage) + DONE
