"""An OpenAI client that keeps the time, and an account of how each question ended."""

import asyncio
import base64
import json
import time
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import httpx

from benchmarks.errors import BenchmarkError

TIMEOUT_S = 300.0

Content = str | list[dict[str, Any]]
Message = dict[str, Any]


@dataclass
class Reply:
    """What came of one question. Seconds count from its sending."""

    status: int = 0
    text: str = ""
    piece_s: list[float] = field(default_factory=list)
    """When each piece of the text came."""
    total_s: float = 0.0
    complete: bool = False
    retry_after: str = ""
    error: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    extension: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """`answered`; `refused`: clearly, with a time to come back; or `lost`."""
        if self.complete:
            return "answered"
        return "refused" if self.status == 429 and self.retry_after.isdecimal() else "lost"

    @property
    def first_token_s(self) -> float:
        """When the first piece of the text came; 0 when none did."""
        return self.piece_s[0] if self.piece_s else 0.0

    @property
    def tokens(self) -> int:
        """Tokens of the answer as the server counts them, else the pieces that came."""
        return int(self.usage.get("completion_tokens") or len(self.piece_s))

    @property
    def token_s(self) -> float:
        """Mean time per token after the first; 0 for an answer of one."""
        return (self.piece_s[-1] - self.piece_s[0]) / (self.tokens - 1) if len(self.piece_s) > 1 else 0.0

    @property
    def pauses(self) -> list[float]:
        """Time between one piece and the next."""
        return [later - earlier for earlier, later in pairwise(self.piece_s)]

    @property
    def receipt(self) -> dict[str, Any]:
        """The way the request took; empty from other servers."""
        receipt: dict[str, Any] = self.extension.get("receipt", {})
        return receipt


class Client:
    """Asks one server, as many questions at a time as it is given; `model` for servers that list none."""

    def __init__(self, url: str, model: str = "") -> None:
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            trust_env=False,
        )
        self._model = model

    async def __aenter__(self) -> Self:
        if not self._model:
            try:
                models = (await self._http.get("/v1/models")).raise_for_status().json()
                self._model = models["data"][0]["id"]
            except (httpx.HTTPError, ValueError, LookupError) as error:
                raise BenchmarkError(f"No list of models from {self._http.base_url}: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ask(self, *messages: Message, **options: Any) -> Reply:
        """One streamed answer; whatever goes wrong is written into the reply."""
        reply, started = Reply(), time.monotonic()
        body = {
            "model": self._model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **options,
        }
        try:
            async with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
                await _read(response, reply, started)
        except (httpx.HTTPError, ValueError, LookupError) as error:  # no connection, or no such event
            reply.error = {"message": repr(error)}
        reply.total_s = time.monotonic() - started
        return reply

    async def ask_all(self, conversations: list[list[Message]], **options: Any) -> list[Reply]:
        """All at once."""
        return await asyncio.gather(*(self.ask(*messages, **options) for messages in conversations))


def user(text: str, *pictures: bytes) -> Message:
    """A user message: pictures (PNG or JPEG files) first, then the text."""
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in pictures
    ]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}] if parts else text}


def assistant(text: str) -> Message:
    """An earlier answer."""
    return {"role": "assistant", "content": text}


def _data_url(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


async def _read(response: httpx.Response, reply: Reply, started: float) -> None:
    reply.status, reply.retry_after = response.status_code, response.headers.get("retry-after", "")
    if response.is_error:
        reply.error = _error(await response.aread())
        return
    finished = False
    async for line in response.aiter_lines():
        data = line.removeprefix("data: ")
        if data == line:
            continue
        if data == "[DONE]":
            reply.complete = True
            return
        event = json.loads(data)
        reply.error = _as_error(event.get("error")) or reply.error
        reply.usage = event.get("usage") or reply.usage
        reply.extension = event.get("autoglm") or reply.extension
        for choice in event.get("choices", ()):
            finished = finished or bool(choice.get("finish_reason"))
            if text := choice["delta"].get("content"):
                reply.piece_s.append(time.monotonic() - started)
                reply.text += text
    reply.complete = finished and not reply.error  # `transformers serve` writes no [DONE]


def _error(body: bytes) -> dict[str, Any]:
    try:
        error = _as_error(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return {"message": body[:200].decode(errors="replace")}
    return error


def _as_error(error: Any) -> dict[str, Any]:
    """Some servers send no object but its message."""
    return error if isinstance(error, dict) else {"message": str(error)} if error else {}
