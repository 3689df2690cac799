"""Requests of every kind, many at once, and an account of how each one ended."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import grpc

from autoglm.llm.v1 import llm_pb2
from servicekit.errors import from_rpc_error
from tests.contract.llm_client import LLM, assistant, image, text, user
from tests.pictures import file_of, photo

AT_ONCE = 48
PLACES = 40
"""What the service is to hold, so that some find it full."""
PAUSE_S = 0.3
"""Whoever finds it full stays away for so long."""
PICTURES = [file_of(photo(seed=seed)) for seed in range(12)]
UNFORESEEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}
WORDS = "ab 你好 what is this? "


@dataclass
class Endings:
    """How many ended how. Lost: without an end or a reason."""

    answered: int = 0
    left: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        return self.answered + self.left + self.refused.total() + self.lost.total()


async def soak(llm: LLM, requests: int, seed: int) -> Endings:
    """Asks that many times: short and long, with pictures, deadlines, priorities, and callers that leave."""
    endings, rng, room = Endings(), random.Random(seed), asyncio.Semaphore(AT_ONCE)

    async def ask(request: llm_pb2.GenerateRequest, within: float, leave: int | None) -> None:
        try:
            await _ask(llm, endings, request, within, leave)
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(requests):
            await room.acquire()
            within = rng.uniform(0.01, 0.5) if rng.random() < 0.15 else 120.0
            leave = rng.randrange(1, 12) if rng.random() < 0.2 else None
            group.create_task(ask(_request(rng), within, leave))
    return endings


async def _ask(
    llm: LLM, endings: Endings, request: llm_pb2.GenerateRequest, within: float, leave: int | None
) -> None:
    """within: seconds of the deadline; leave: deltas after which the caller is gone."""
    call = llm.stub.Generate(request, timeout=within)
    heard, whole = 0, False
    try:
        async for response in call:
            whole = response.HasField("finish")
            heard += 1
            if heard == leave and not whole:
                call.cancel()
                endings.left += 1
                return
    except grpc.aio.AioRpcError as error:
        name = from_rpc_error(error).reason or error.code().name
        (endings.lost if error.code() in UNFORESEEN else endings.refused)[name] += 1
        if name == "QUEUE_FULL":
            await asyncio.sleep(PAUSE_S)
        return
    if whole:
        endings.answered += 1
    else:
        endings.lost["no end"] += 1


def _request(rng: random.Random) -> llm_pb2.GenerateRequest:
    messages = []
    for _ in range(rng.choice((0, 0, 1))):
        messages += [user(text("earlier")), assistant("".join(rng.choices(WORDS, k=30)))]
    pictures = [image(rng.choice(PICTURES)) for _ in range(rng.choice((0, 0, 1, 2)))]
    messages.append(user(*pictures, text("".join(rng.choices(WORDS, k=rng.choice((5, 40, 200)))))))
    return llm_pb2.GenerateRequest(
        messages=messages,
        sampling=llm_pb2.SamplingParams(
            max_tokens=rng.choice((1, 8, 60)), temperature=rng.choice((0.0, 0.8)), seed=rng.randrange(1000)
        ),
        priority=rng.randrange(-1, 2),
    )
