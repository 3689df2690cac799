"""A mixed load, and an account of what became of every request while something goes wrong."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from benchmarks.client import user
from benchmarks.pictures import solids

REQUESTS = 100
PER_SECOND = 8.0
CALM = 24  # requests asked before the trouble starts
DEADLINE_S = 30.0
RECOVERY_S = 60.0
RETRY_S = 0.25
RUNNING = 16
WORDS = ("你好", "一个红苹果", "hello", "这是什么？")
NAME = re.compile(r"[A-Z][A-Z_]+")
UNFORESEEN = "INTERNAL"

Disturb = Callable[[], Awaitable[None]]


@dataclass(frozen=True, eq=False)
class Question:
    """Asked again and again, and always answered alike: nothing is drawn at random."""

    message: Mapping[str, Any]
    stream: bool
    tokens: int = 16

    @property
    def body(self) -> dict[str, Any]:
        return {"model": "", "messages": [self.message], "stream": self.stream, "max_tokens": self.tokens}


QUESTIONS = [
    Question(user(words, *pictures), stream)
    for words, picture in zip(WORDS, solids(len(WORDS), seed=4), strict=True)
    for pictures in ((), (picture,))
    for stream in (False, True)
]
LONG = Question(user("你好"), stream=True, tokens=400)


@dataclass
class Tally:
    """How many ended how. Lost: wrong, cut off, nameless or too late."""

    drill: str
    right: int = 0
    named: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    recovery_s: float = 0.0

    @property
    def requests(self) -> int:
        return self.right + self.named.total() + self.lost.total()


class Mix:
    """Asks the questions of one gateway, or of several that stand for each other."""

    def __init__(self, *urls: str) -> None:
        self._urls = urls
        self._http = httpx.AsyncClient(timeout=DEADLINE_S, trust_env=False)
        self._right: dict[Question, str] = {}

    async def __aenter__(self) -> Self:
        """Learns the right answers, one question at a time."""
        for question in (*QUESTIONS, LONG):
            self._right[question] = await self._ask(question, self._urls[0])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def endure(self, drill: str, disturb: Disturb) -> Tally:
        """Asks at a steady pace, at least until `disturb` is through and everything is right again."""
        tally, number = Tally(drill), 0
        trouble: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group:
            while number < REQUESTS or not (trouble and trouble.done()):
                if number == CALM:
                    trouble = group.create_task(self._disturb(tally, disturb))
                group.create_task(self._ask_and_count(tally, number))
                number += 1
                await asyncio.sleep(1 / PER_SECOND)
        return tally

    async def finish(self, drill: str, disturb: Disturb) -> Tally:
        """Asks for long answers, and lets `disturb` loose once each of them is under way."""
        tally, under_way = Tally(drill), asyncio.Semaphore(0)

        async def ask(url: str) -> None:
            await self._count(tally, LONG, self._ask(LONG, url, under_way.release))

        async with asyncio.TaskGroup() as group:
            for number in range(RUNNING):
                group.create_task(ask(self._urls[number % len(self._urls)]))
            async with asyncio.timeout(DEADLINE_S):
                for _ in range(RUNNING):
                    await under_way.acquire()
            if tally.requests:
                raise RuntimeError("an answer had already ended; longer ones are needed")
            await disturb()
        return tally

    async def _disturb(self, tally: Tally, disturb: Disturb) -> None:
        await disturb()
        over = time.monotonic()
        async with asyncio.timeout(RECOVERY_S):
            while not await self._is_well():
                await asyncio.sleep(0.1)
        tally.recovery_s = time.monotonic() - over

    async def _is_well(self) -> bool:
        """Every question is answered right, by every gateway."""
        probe = Tally("probe")
        count = len(QUESTIONS) * len(self._urls)
        await asyncio.gather(*(self._ask_and_count(probe, number) for number in range(count)))
        return probe.right == count

    async def _ask_and_count(self, tally: Tally, number: int) -> None:
        question, start = QUESTIONS[number % len(QUESTIONS)], number // len(QUESTIONS)
        await self._count(tally, question, self._ask_somewhere(question, start))

    async def _count(self, tally: Tally, question: Question, asking: Awaitable[str]) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                answer = await asking
        except Refused as refused:
            (tally.named if refused.is_named else tally.lost)[refused.code] += 1
        except TimeoutError:
            tally.lost["too late"] += 1
        except httpx.HTTPError as error:
            tally.lost[type(error).__name__] += 1
        else:
            if answer == self._right[question]:
                tally.right += 1
            else:
                tally.lost["wrong"] += 1

    async def _ask_somewhere(self, question: Question, start: int) -> str:
        """As OpenAI's clients do, goes on trying where nobody takes the connection."""
        for attempt in range(round(DEADLINE_S / RETRY_S)):
            with suppress(httpx.ConnectError):
                return await self._ask(question, self._urls[(start + attempt) % len(self._urls)])
            await asyncio.sleep(RETRY_S)
        raise TimeoutError

    async def _ask(self, question: Question, url: str, heard: Callable[[], None] = lambda: None) -> str:
        """The answer; `heard` is called at its first words."""
        async with self._http.stream("POST", f"{url}/v1/chat/completions", json=question.body) as response:
            if response.is_error or not question.stream:
                completion = json.loads(await response.aread())
                _raise_error(completion, response.status_code)
                return str(completion["choices"][0]["message"]["content"])
            text = ""
            async for line in response.aiter_lines():
                data = line.removeprefix("data: ")
                if data == "[DONE]":
                    return text
                if data != line:
                    event = json.loads(data)
                    _raise_error(event, response.status_code)
                    said = "".join(choice["delta"].get("content") or "" for choice in event["choices"])
                    if said and not text:
                        heard()
                    text += said
        raise httpx.RemoteProtocolError("the stream ended without a word")


class Refused(Exception):
    """The server said why not."""

    def __init__(self, code: str, status: int):
        super().__init__(f"{status} {code}")
        self.code = code

    @property
    def is_named(self) -> bool:
        return bool(NAME.fullmatch(self.code)) and self.code != UNFORESEEN


def _raise_error(event: dict[str, Any], status: int) -> None:
    if "error" in event:
        raise Refused(str(event["error"]["code"]), status)
