"""Embeddings that the llm takes or refuses, and encoders that are wrong, slow or down."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch

from autoglm.llm.v1 import llm_pb2
from autoglm.tensor.v1 import tensor_pb2
from autoglm.vision.v1 import vision_pb2
from servicekit.breaker import THRESHOLD
from servicekit.tensors import to_message
from services.llm.media.library import ASKED_AT_ONCE
from services.llm.prompt import MAX_WRITTEN, WRITTEN
from tests.bundles import write_llm_bundle
from tests.contract.llm_client import (
    LLM,
    StartLLM,
    brought,
    image,
    refusal,
    start_vision,
    text,
    until,
    until_answered,
    user,
)
from tests.contract.scripted_vision import HIDDEN, TOKENS, ScriptedVision
from tests.pictures import file_of, photo

# --- embeddings that callers bring


async def test_a_callers_embedding_takes_the_place_of_a_picture(
    scripted_llm: LLM, vision: ScriptedVision
) -> None:
    own = await scripted_llm.generate(brought(vision.embedding_TD), text("?"))
    encoded = await scripted_llm.generate(image(b"any bytes"), text("?"))
    assert own.text() == encoded.text()
    assert own.finish.receipt.media[0].source == llm_pb2.MEDIA_SOURCE_CALLER
    other = await scripted_llm.generate(brought(vision.embedding_TD + 1), text("?"))
    assert other.finish.usage.cached_tokens == 0


async def test_a_callers_digest_is_not_believed(scripted_llm: LLM, vision: ScriptedVision) -> None:
    """Otherwise one caller could put a picture of its choice in the place of another's."""
    honest = await scripted_llm.generate(image(b"honest"), text("?"))
    lie = brought(vision.embedding_TD * 3, media_digest=hashlib.sha256(b"honest").digest())
    liar = await scripted_llm.generate(lie, text("?"))
    again = await scripted_llm.generate(image(b"honest"), text("?"))
    assert liar.finish.usage.cached_tokens == 0
    assert again.text() == honest.text()


async def test_text_read_in_a_picture_stands_behind_it_and_is_counted(
    scripted_llm: LLM, vision: ScriptedVision
) -> None:
    vision.beside = {"text_lines": [vision_pb2.TextLine(text=line) for line in ("ab", "c d")]}
    shown = llm_pb2.TokenizeRequest(messages=[user(image(), text("?"))])
    told = llm_pb2.TokenizeRequest(
        messages=[user(brought(vision.embedding_TD), text(WRITTEN.format("ab c d")), text("?"))]
    )
    tokens = (await scripted_llm.stub.Tokenize(shown)).token_ids
    assert tokens == (await scripted_llm.stub.Tokenize(told)).token_ids
    assert (await scripted_llm.generate(image(), text("?"))).finish.usage.prompt_tokens == len(tokens)


async def test_a_page_of_text_reaches_the_prompt_in_part(scripted_llm: LLM, vision: ScriptedVision) -> None:
    shown = llm_pb2.TokenizeRequest(messages=[user(image(b"blank"))])
    blank = (await scripted_llm.stub.Tokenize(shown)).token_ids
    vision.beside = {"text_lines": [vision_pb2.TextLine(text="x")] * MAX_WRITTEN}
    shown = llm_pb2.TokenizeRequest(messages=[user(image(b"page"))])
    page = (await scripted_llm.stub.Tokenize(shown)).token_ids
    words = WRITTEN.format("x " * (MAX_WRITTEN // 2)).encode()
    assert MAX_WRITTEN // 2 < len(page) - len(blank) <= len(words)


async def test_text_that_was_not_read_to_its_end_is_asked_for_again(
    scripted_llm: LLM, vision: ScriptedVision
) -> None:
    vision.beside = {"text_incomplete": True}
    for _ in range(2):
        await scripted_llm.generate(image(b"long"), text("?"))
    assert vision.encodes == 2


# --- refusals of an embedding


BROUGHT = torch.randn(TOKENS, HIDDEN)


@pytest.mark.parametrize(
    ("part", "code", "reason"),
    [
        (
            brought(BROUGHT, model_fingerprint="other@1"),
            grpc.StatusCode.FAILED_PRECONDITION,
            "EMBEDDING_FINGERPRINT_MISMATCH",
        ),
        (brought(BROUGHT.int()), grpc.StatusCode.INVALID_ARGUMENT, "EMBEDDING_DTYPE_UNSUPPORTED"),
        (brought(torch.randn(TOKENS, 8)), grpc.StatusCode.INVALID_ARGUMENT, "EMBEDDING_SHAPE_MISMATCH"),
        (brought(torch.randn(HIDDEN)), grpc.StatusCode.INVALID_ARGUMENT, "EMBEDDING_SHAPE_MISMATCH"),
        (brought(BROUGHT, token_count=3), grpc.StatusCode.INVALID_ARGUMENT, "EMBEDDING_COUNT_MISMATCH"),
        (brought(BROUGHT[:0]), grpc.StatusCode.INVALID_ARGUMENT, "EMBEDDING_COUNT_MISMATCH"),
        (
            brought(BROUGHT, token_count=9, shape=[9, HIDDEN]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "TENSOR_TRUNCATED",
        ),
        (brought(BROUGHT / 0), grpc.StatusCode.INVALID_ARGUMENT, "EMBEDDING_NOT_FINITE"),
        (
            brought(BROUGHT, modality=tensor_pb2.MODALITY_TEXT),
            grpc.StatusCode.INVALID_ARGUMENT,
            "CONTENT_UNSUPPORTED",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_callers_embedding_that_does_not_fit_is_refused_by_name(
    scripted_llm: LLM, part: llm_pb2.ContentPart, code: grpc.StatusCode, reason: str
) -> None:
    async with refusal(code, reason, "messages[0].parts[0]"):
        await scripted_llm.generate(part)


async def test_an_embedding_too_large_to_be_weighed_is_refused_and_spoils_nobodys_answer(
    scripted_llm: LLM,
) -> None:
    expected = (await scripted_llm.generate(text("hello"), sampling={"max_tokens": 8})).text()
    async with refusal(grpc.StatusCode.INVALID_ARGUMENT, "EMBEDDING_NOT_FINITE", "messages"):
        await scripted_llm.generate(brought(torch.full_like(BROUGHT, 3e38)), text("?"))
    assert (await scripted_llm.generate(text("hello"), sampling={"max_tokens": 8})).text() == expected


async def test_a_picture_shown_twice_at_once_is_told_as_sent_once(
    scripted_llm: LLM, vision: ScriptedVision
) -> None:
    answer = await scripted_llm.generate(image(b"twin"), image(b"twin"), text("?"))
    first, second = sorted(answer.finish.receipt.media, key=lambda media: -media.sent_bytes)
    assert vision.encodes == 1
    assert (first.source, first.sent_bytes) == (llm_pb2.MEDIA_SOURCE_ENCODED, 4)
    assert (second.source, second.sent_bytes, second.elapsed_ms) == (llm_pb2.MEDIA_SOURCE_LOCAL_CACHE, 0, 0)
    assert second.token_count == first.token_count


async def test_a_conversation_of_many_pictures_asks_for_some_at_a_time(
    scripted_llm: LLM, vision: ScriptedVision
) -> None:
    vision.gate.clear()
    asking = asyncio.create_task(scripted_llm.generate(*[image(bytes([n])) for n in range(50)], text("?")))
    await until(lambda: vision.encodes == ASKED_AT_ONCE)
    await asyncio.sleep(0.05)
    assert vision.encodes == ASKED_AT_ONCE
    vision.gate.set()
    assert (await asking).text()
    assert vision.encodes == 50


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"model_fingerprint": "other@1"}, "EMBEDDING_FINGERPRINT_MISMATCH"),
        ({"media_digest": bytes(32)}, "EMBEDDING_DIGEST_MISMATCH"),
        ({"modality": tensor_pb2.MODALITY_AUDIO}, "EMBEDDING_MODALITY_MISMATCH"),
        ({"data_type": tensor_pb2.DATA_TYPE_FLOAT16}, "TENSOR_DTYPE_MISMATCH"),
        ({"data_type": tensor_pb2.DATA_TYPE_INT8}, "EMBEDDING_DTYPE_UNSUPPORTED"),
        ({"shape": [TOKENS, 64]}, "EMBEDDING_SHAPE_MISMATCH"),
        ({"token_count": 4}, "EMBEDDING_COUNT_MISMATCH"),
        ({"token_count": 4, "shape": [4, HIDDEN]}, "TENSOR_OVERRUN"),
        ({"token_count": 6, "shape": [6, HIDDEN]}, "TENSOR_TRUNCATED"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_an_encoder_that_answers_wrongly_is_named_as_the_one_at_fault(
    scripted_llm: LLM, vision: ScriptedVision, header: dict[str, Any], reason: str
) -> None:
    vision.header = header
    async with refusal(grpc.StatusCode.INTERNAL, reason, "messages[0].parts[0]"):
        await scripted_llm.generate(image())
    vision.header = {}
    assert (await scripted_llm.generate(image())).text()


async def test_an_encoder_the_backbone_was_not_trained_with_is_refused(
    start_llm: StartLLM, vision: ScriptedVision, tmp_path: Path
) -> None:
    config = write_llm_bundle(tmp_path) / "config.json"
    trusted = {**json.loads(config.read_text()), "encoder_fingerprints": ["other@1"]}
    config.write_text(json.dumps(trusted))
    async with start_llm(model=tmp_path / "tiny", vision_target=f"127.0.0.1:{vision.port}") as llm:
        async with refusal(
            grpc.StatusCode.FAILED_PRECONDITION, "EMBEDDING_FINGERPRINT_MISMATCH", "messages[0].parts[0]"
        ):
            await llm.generate(image())
        assert not vision.encodes
        assert (await llm.generate(text("hello"))).text()


async def test_a_chunk_shorter_than_it_says_is_refused(scripted_llm: LLM, vision: ScriptedVision) -> None:
    chunk = to_message(vision.embedding_TD)
    chunk.data = chunk.data[:-1]
    vision.chunks = [chunk]
    async with refusal(grpc.StatusCode.INTERNAL, "TENSOR_SIZE_MISMATCH", "messages[0].parts[0]"):
        await scripted_llm.generate(image())


# --- encoders that are down or slow, callers that leave


async def test_without_vision_pictures_are_refused_text_goes_on_and_pictures_come_back(
    start_llm: StartLLM, tiny_bundle: Path
) -> None:
    async with start_vision(tiny_bundle) as vision:
        port = vision.port
    async with start_llm(vision_target=f"127.0.0.1:{port}") as llm:
        for _ in range(2):
            async with refusal(grpc.StatusCode.UNAVAILABLE, "VISION_UNAVAILABLE", "messages[0].parts[0]"):
                await llm.generate(image(), text("?"))
            assert (await llm.generate(text("hello"))).text()
        async with start_vision(tiny_bundle, port):
            await until_answered(llm, image())
            seen = await llm.generate(image(), text("again?"))
        assert seen.finish.receipt.media[0].source == llm_pb2.MEDIA_SOURCE_LOCAL_CACHE
        other = image(file_of(photo(seed=9)))
        async with refusal(grpc.StatusCode.UNAVAILABLE, "VISION_UNAVAILABLE", "messages[0].parts[0]"):
            await llm.generate(other)
        assert (await llm.generate(image(), text("once more?"))).text()
        async with start_vision(tiny_bundle, port):
            await until_answered(llm, other)


async def test_vision_that_dies_in_the_middle_of_an_encode_is_named(
    scripted_llm: LLM, vision: ScriptedVision
) -> None:
    vision.gate.clear()
    asking = asyncio.create_task(scripted_llm.generate(image()))
    await until(lambda: vision.encodes == 1)
    await vision.stop(0)
    async with refusal(grpc.StatusCode.UNAVAILABLE, "VISION_UNAVAILABLE", "messages[0].parts[0]"):
        await asking


async def test_an_encoder_that_hangs_is_named_in_time_then_left_alone_and_found_again(
    start_llm: StartLLM, vision: ScriptedVision
) -> None:
    vision.gate.clear()
    async with start_llm(vision_target=f"127.0.0.1:{vision.port}", encode_timeout_s=0.3) as llm:
        for _ in range(THRESHOLD):
            async with refusal(grpc.StatusCode.UNAVAILABLE, "VISION_UNAVAILABLE", "messages[0].parts[0]"):
                await llm.generate(image(), text("?"))
        assert vision.encodes == THRESHOLD
        await until(lambda: vision.cancelled == THRESHOLD)
        async with refusal(grpc.StatusCode.UNAVAILABLE, "VISION_UNAVAILABLE", "messages[0].parts[0]"):
            await llm.generate(image(), text("?"))
        assert vision.encodes == THRESHOLD
        assert (await llm.generate(text("hello"))).text()
        vision.gate.set()
        await until_answered(llm, image())


async def test_pictures_that_cannot_be_read_do_not_count_against_the_encoder(llm: LLM) -> None:
    for _ in range(THRESHOLD + 1):
        async with refusal(grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_UNREADABLE", "messages[0].parts[0]"):
            await llm.generate(image(b"no picture"))
    assert (await llm.generate(image())).text()


async def test_two_at_once_share_one_encode(scripted_llm: LLM, vision: ScriptedVision) -> None:
    vision.gate.clear()
    both = [asyncio.create_task(scripted_llm.generate(image(), text(words))) for words in "ab"]
    while not vision.encodes:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    vision.gate.set()
    answers = await asyncio.gather(*both)
    assert vision.encodes == 1
    assert all(answer.finish.receipt.media[0].token_count == TOKENS for answer in answers)


async def test_who_has_time_left_is_not_bound_by_the_deadline_of_who_came_first(
    scripted_llm: LLM, vision: ScriptedVision
) -> None:
    vision.gate.clear()
    hasty = asyncio.create_task(scripted_llm.generate(image(), timeout=0.3))
    await until(lambda: vision.encodes == 1)
    patient = asyncio.create_task(scripted_llm.generate(image(), text("?")))
    await until(lambda: vision.encodes == 2)
    vision.gate.set()
    assert (await patient).text()
    with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
        await hasty


async def test_a_deadline_reaches_the_encoder(scripted_llm: LLM, vision: ScriptedVision) -> None:
    vision.gate.clear()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await scripted_llm.generate(image(), timeout=0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: vision.cancelled == 1)


async def test_a_caller_that_leaves_cancels_the_encode_nobody_else_wants(
    scripted_llm: LLM, vision: ScriptedVision
) -> None:
    vision.gate.clear()
    asking = asyncio.create_task(scripted_llm.generate(image()))
    await until(lambda: vision.encodes == 1)
    asking.cancel()
    await until(lambda: vision.cancelled == 1)
