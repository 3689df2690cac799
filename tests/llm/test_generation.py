"""A generator streams what the plain pass would say, and lets go of whoever leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import torch
from prometheus_client import REGISTRY

from services.llm.checkpoint import Backbone
from services.llm.detokenizer import Delta, Detokenizer
from services.llm.engine.engine import EngineConfig
from services.llm.engine.request import FinishReason, Request, SamplingParams
from services.llm.generation import Finish, Generator
from services.llm.model.decoder import Decoder
from services.llm.model.fusion import GatingUnit, Modality
from services.llm.prompt import Media, Message, Role, Text, lay_out
from services.llm.tokenizer import Tokenizer
from tests.llm.engine.questions import plain_answer


@pytest.fixture
async def generator(backbone: tuple[Decoder, GatingUnit]) -> AsyncIterator[Generator]:
    generator = Generator(Backbone(*backbone), EngineConfig(kv_cache_bytes=1 << 20))
    yield generator
    await generator.close()


def request(tokenizer: Tokenizer, words: str, max_tokens: int = 30) -> Request:
    prompt = lay_out([Message(Role.USER, (Text(words),))], tokenizer)
    return Request(words, prompt.token_ids, SamplingParams(max_tokens=max_tokens))


async def read(generator: Generator, asked: Request, detokenizer: Detokenizer) -> tuple[str, Finish]:
    """Text and end; the end comes last and once."""
    *deltas, finish = [event async for event in generator.stream(asked, detokenizer)]
    assert isinstance(finish, Finish)
    assert all(isinstance(delta, Delta) for delta in deltas)
    return "".join(delta.text for delta in deltas if isinstance(delta, Delta)), finish


async def test_many_streams_at_once_say_what_the_plain_pass_says(
    generator: Generator, decoder: Decoder, tokenizer: Tokenizer
) -> None:
    asked = [request(tokenizer, f"question {i}") for i in range(6)]
    answers = await asyncio.gather(*(read(generator, r, Detokenizer(tokenizer)) for r in asked))
    for one, (said, finish) in zip(asked, answers, strict=True):
        token_ids = plain_answer(decoder, one)
        whole = tokenizer.decode(token_ids)
        assert whole.startswith(said)
        assert set(whole[len(said) :]) <= {"\ufffd"}, (
            "only the bytes of an unfinished character may be missing"
        )
        assert finish.completion_tokens == len(token_ids)
        assert 0 <= finish.queue_seconds <= finish.first_token_seconds <= finish.total_seconds


async def test_tokens_after_a_stop_string_are_not_part_of_the_answer(
    generator: Generator, tokenizer: Tokenizer
) -> None:
    whole, _ = await read(generator, request(tokenizer, "tell me"), Detokenizer(tokenizer))
    detokenizer = Detokenizer(tokenizer, stop=[whole[2]])
    said, finish = await read(generator, request(tokenizer, "tell me"), detokenizer)
    assert said == whole[: whole.index(whole[2])]
    assert finish.reason is FinishReason.STOP
    assert finish.completion_tokens == detokenizer.token_count < 30


async def test_who_leaves_early_frees_the_blocks(generator: Generator, tokenizer: Tokenizer) -> None:
    def free() -> bool:
        values = [REGISTRY.get_sample_value(f"autoglm_llm_{name}_blocks") for name in ("free", "total")]
        return values[0] == values[1]

    stream = generator.stream(request(tokenizer, "a story", max_tokens=400), Detokenizer(tokenizer))
    async with aclosing(stream):
        await anext(stream)
        assert not free()
    async with asyncio.timeout(5):
        while not free():
            await asyncio.sleep(0.001)


async def test_closing_ends_every_stream(backbone: tuple[Decoder, GatingUnit], tokenizer: Tokenizer) -> None:
    generator = Generator(Backbone(*backbone), EngineConfig(kv_cache_bytes=1 << 20))
    asking = asyncio.create_task(
        read(generator, request(tokenizer, "endless", max_tokens=2000), Detokenizer(tokenizer))
    )
    await asyncio.sleep(0.05)
    await generator.close()
    _, finish = await asking
    assert finish.reason is FinishReason.CANCELLED


async def test_text_alone_needs_no_embedding_and_weighs_1_0_0(
    generator: Generator, tokenizer: Tokenizer
) -> None:
    prompt = lay_out([Message(Role.USER, (Text("hi"),))], tokenizer)
    x_TD, (gate,) = await generator.embed(prompt, [])
    assert x_TD is None
    assert gate.weights == (1.0, 0.0, 0.0)


async def test_media_take_their_places_in_order(
    backbone: tuple[Decoder, GatingUnit], tokenizer: Tokenizer
) -> None:
    generator = Generator(Backbone(backbone[0], None), EngineConfig(kv_cache_bytes=1 << 20))
    pictures = [torch.full((n, 32), float(n)) for n in (2, 3)]
    parts = [Media(Modality.IMAGE, len(p), bytes([len(p)])) for p in pictures]
    prompt = lay_out([Message(Role.USER, (parts[0], Text("and"), parts[1]))], tokenizer)
    x_TD, gates = await generator.embed(prompt, pictures)
    assert gates == []
    assert x_TD is not None
    for span, picture in zip(prompt.spans, pictures, strict=True):
        assert torch.equal(x_TD[span.start : span.end], picture)
    assert generator.staged_bytes(prompt) == x_TD.nbytes
    await generator.close()
