"""transformers behind an endpoint answers what `generate` answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn

from benchmarks.client import Client, Message, user
from benchmarks.generate import Generator, create_app
from benchmarks.pictures import solid

MAX_TOKENS = 6


@asynccontextmanager
async def listening(generator: Generator) -> AsyncIterator[Client]:
    server = uvicorn.Server(uvicorn.Config(create_app(generator, "a model"), port=0, log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with Client(f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        server.should_exit = True
        await serving


@torch.inference_mode()
def alone(generator: Generator, messages: list[Message]) -> str:
    """What one prompt without a batch or a stream is answered."""
    prompt = generator.prompts.read(messages)
    inputs: dict[str, Any] = generator.prompts.pad([prompt]) | (prompt.pictures or {})
    made = generator.model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
    return str(generator.prompts.tokenizer.decode(made[0, len(prompt.ids) :]))


@pytest.mark.parametrize("size", ["tiny", "tiny-seeing"])
async def test_those_who_ask_at_once_get_what_each_gets_alone(
    checkpoint: Callable[[str], Path], size: str
) -> None:
    generator = Generator(checkpoint(size), torch.float32, "cpu")
    asked = [
        [user("short")],
        [user("a longer question")],
        [{"role": "system", "content": "x" * 40}, user("?")],
    ]
    if size == "tiny-seeing":
        asked += [
            [user("colour?", solid((200, 30, 40), 150))],
            [user("and", solid((1, 2, 3)), solid((3, 2, 1)))],
        ]
    async with listening(generator) as client:
        replies = await client.ask_all(asked, max_tokens=MAX_TOKENS)
    assert [reply.text for reply in replies] == [alone(generator, messages) for messages in asked]
    assert {(reply.outcome, reply.tokens, len(reply.piece_s)) for reply in replies} == {
        ("answered", MAX_TOKENS, MAX_TOKENS)
    }


async def test_answers_of_a_batch_end_at_their_own_lengths(checkpoint: Callable[[str], Path]) -> None:
    async with listening(Generator(checkpoint("tiny"), torch.float32, "cpu")) as client:
        asked = (client.ask(user("hello"), max_tokens=count) for count in (1, 7, 3))
        assert [reply.tokens for reply in await asyncio.gather(*asked)] == [1, 7, 3]


async def test_a_batch_that_fails_says_so_and_the_next_is_answered(checkpoint: Callable[[str], Path]) -> None:
    async with listening(Generator(checkpoint("tiny"), torch.float32, "cpu")) as client:
        failed = await client.ask(user("hello"), max_tokens=-1)
        assert (failed.outcome, bool(failed.error["message"])) == ("lost", True)
        assert (await client.ask(user("hello"), max_tokens=1)).outcome == "answered"
