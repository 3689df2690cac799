"""LLMService over real sockets: every RPC, and every reason to refuse a request."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch

from autoglm.llm.v1 import llm_pb2
from autoglm.tensor.v1 import tensor_pb2
from servicekit.errors import from_rpc_error
from servicekit.server import running
from services.speech.service import create_service as create_speech
from services.speech.settings import SpeechSettings
from tests.bundles import write_speech_bundle
from tests.contract.llm_client import (
    FREE,
    LLM,
    PICTURE,
    StartLLM,
    assistant,
    image,
    refusal,
    text,
    user,
)
from tests.contract.scripted_vision import HIDDEN, TOKENS, ScriptedVision

SPOKEN = Path(__file__).parents[1] / "speech" / "clips" / "apple.opus"

# --- happy paths


async def test_text_is_answered_and_passes_the_gate_unchanged(llm: LLM) -> None:
    answer = await llm.generate(text("hello"))
    assert answer.text()
    assert answer.finish.reason == llm_pb2.FINISH_REASON_LENGTH
    assert answer.finish.usage.completion_tokens == 8
    (gate,) = answer.finish.gate_weights
    assert (gate.text, gate.image, gate.audio) == (1, 0, 0)
    assert answer.finish.receipt.steps == 8
    assert 0 < answer.finish.receipt.first_token_ms <= answer.finish.receipt.total_ms


async def test_a_picture_is_encoded_once_and_weighed(llm: LLM) -> None:
    first = await llm.generate(image(), text("what is this?"))
    (receipt,) = first.finish.receipt.media
    assert receipt.source == llm_pb2.MEDIA_SOURCE_ENCODED
    assert receipt.sent_bytes == len(PICTURE)
    assert receipt.received_bytes > receipt.token_count * HIDDEN * 4
    (gate,) = first.finish.gate_weights
    assert gate.text + gate.image + gate.audio == pytest.approx(1)
    assert 0 < gate.image < 1
    assert gate.audio == 0
    second = await llm.generate(image(), text("what is this?"))
    assert second.finish.receipt.media[0].source == llm_pb2.MEDIA_SOURCE_LOCAL_CACHE
    assert second.finish.usage.cached_tokens > 0
    assert second.text() == first.text()


async def test_another_picture_gives_another_answer(scripted_llm: LLM, vision: ScriptedVision) -> None:
    said = set()
    for seed in range(4):
        vision.embedding_TD = torch.randn(TOKENS, HIDDEN, generator=torch.Generator().manual_seed(seed))
        said.add((await scripted_llm.generate(image(bytes([seed])), text("?"))).text())
    assert len(said) > 1


async def test_a_picture_asked_about_one_turn_later_is_a_prefix_hit(llm: LLM) -> None:
    question = user(image(), text("what is this, and what is beside it?"))
    first = await llm.converse([question])
    second = await llm.converse([question, assistant(first.text()), user(text("and now?"))])
    whole_blocks = first.finish.usage.prompt_tokens // 16 * 16
    assert second.finish.usage.cached_tokens >= whole_blocks
    assert [g.message_index for g in second.finish.gate_weights] == [0]
    assert second.finish.gate_weights[0] == first.finish.gate_weights[0]


async def test_the_model_describes_itself(llm: LLM) -> None:
    response = await llm.stub.GetModel(llm_pb2.GetModelRequest())
    assert response.model.name == "tiny"
    assert response.model.fingerprint.startswith("tiny@")
    assert response.model.hidden_size == HIDDEN
    assert response.model.loaded
    assert response.gated
    assert response.max_context_tokens == 512
    assert list(response.modalities) == [tensor_pb2.MODALITY_TEXT, tensor_pb2.MODALITY_IMAGE]
    assert len(response.encoder_fingerprints) == 1


async def test_tokenize_counts_what_generate_runs_and_detokenize_reads_it_back(llm: LLM) -> None:
    messages = [user(image(), text("你好 world"))]
    tokens = (await llm.stub.Tokenize(llm_pb2.TokenizeRequest(messages=messages))).token_ids
    answer = await llm.converse(messages)
    assert len(tokens) == answer.finish.usage.prompt_tokens
    said = await llm.stub.Detokenize(llm_pb2.DetokenizeRequest(token_ids=tokens))
    assert said.text == "\n你好 world\n"


async def test_a_seed_repeats_an_answer(llm: LLM) -> None:
    sampling = {"temperature": 1.5, "seed": 3, "max_tokens": 24}
    first, second = [await llm.generate(text("hi"), sampling=sampling) for _ in range(2)]
    other = await llm.generate(text("hi"), sampling={**sampling, "seed": 4})
    assert first.text() == second.text() != other.text()


async def test_a_stop_string_ends_the_answer_before_it(llm: LLM) -> None:
    whole = (await llm.generate(text("hello"), sampling={"max_tokens": 24})).text()
    stop = whole[3:5]
    answer = await llm.generate(text("hello"), sampling={"max_tokens": 24, "stop": [stop]})
    assert answer.text() == whole[: whole.index(stop)]
    assert answer.finish.reason == llm_pb2.FINISH_REASON_STOP
    assert answer.finish.usage.completion_tokens < 24


async def test_thinking_that_never_ends_is_reasoning_cut_by_length(llm: LLM) -> None:
    answer = await llm.generate(text("hello"), enable_thinking=True)
    assert answer.text(llm_pb2.CHANNEL_REASONING)
    assert answer.text() == ""
    assert answer.finish.reason == llm_pb2.FINISH_REASON_LENGTH
    assert answer.finish.usage.reasoning_tokens == answer.finish.usage.completion_tokens == 8


async def test_a_lazy_service_is_ready_before_it_is_loaded(start_llm: StartLLM) -> None:
    async with start_llm(lazy_load=True) as llm:
        assert not (await llm.stub.GetModel(llm_pb2.GetModelRequest())).model.loaded
        assert (await llm.generate(text("hello"))).text()
        assert (await llm.stub.GetModel(llm_pb2.GetModelRequest())).model.loaded


# --- refusals of a request


@pytest.mark.parametrize(
    ("messages", "reason", "field"),
    [
        ([], "MESSAGES_EMPTY", "messages"),
        ([llm_pb2.ChatMessage(parts=[text("a")])], "ROLE_INVALID", "messages[0].role"),
        ([user(text("a")), user()], "CONTENT_EMPTY", "messages[1].parts"),
        ([user(text(""))], "CONTENT_EMPTY", "messages[0].parts"),
        ([user(text("a"), llm_pb2.ContentPart())], "CONTENT_EMPTY", "messages[0].parts[1]"),
        (
            [llm_pb2.ChatMessage(role=llm_pb2.ROLE_SYSTEM, parts=[image()])],
            "CONTENT_UNSUPPORTED",
            "messages[0].parts[0]",
        ),
        ([user(text("a" * 600))], "CONTEXT_TOO_LONG", "messages"),
        ([user(text("a" * 6_000_000))], "CONTEXT_TOO_LONG", "messages"),
        ([user(text("a"))] * 100_000, "CONTEXT_TOO_LONG", "messages"),
        ([user(*[text("a")] * 100_000)], "CONTEXT_TOO_LONG", "messages"),
        (
            [user(llm_pb2.ContentPart(audio=llm_pb2.AudioPart(data=b"RIFF")))],
            "MODALITY_UNSUPPORTED",
            "messages[0].parts[0]",
        ),
    ],
)
async def test_a_wrong_conversation_is_refused_by_name(
    llm: LLM, messages: list[llm_pb2.ChatMessage], reason: str, field: str
) -> None:
    async with refusal(grpc.StatusCode.INVALID_ARGUMENT, reason, field):
        await llm.converse(messages)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_p", 1.1),
        ("top_k", -1),
        ("max_tokens", 0),
        ("repetition_penalty", 0.0),
        ("frequency_penalty", 2.5),
        ("presence_penalty", -2.5),
        ("stop", [""]),
        ("stop", ["x"] * 17),
    ],
)
async def test_a_parameter_out_of_range_is_refused_by_name(llm: LLM, name: str, value: Any) -> None:
    async with refusal(grpc.StatusCode.INVALID_ARGUMENT, "PARAMETER_OUT_OF_RANGE", f"sampling.{name}"):
        await llm.generate(text("a"), sampling={name: value})


async def test_an_unknown_token_is_refused_by_name(llm: LLM) -> None:
    async with refusal(grpc.StatusCode.INVALID_ARGUMENT, "PARAMETER_OUT_OF_RANGE", "token_ids[1]"):
        await llm.stub.Detokenize(llm_pb2.DetokenizeRequest(token_ids=[1, 10**6]))


async def test_more_tokens_than_a_conversation_has_are_not_turned_into_text(llm: LLM) -> None:
    async with refusal(grpc.StatusCode.INVALID_ARGUMENT, "PARAMETER_OUT_OF_RANGE", "token_ids"):
        await llm.stub.Detokenize(llm_pb2.DetokenizeRequest(token_ids=[5] * 1_000_000))


async def test_the_least_repetition_penalty_is_taken(llm: LLM) -> None:
    assert (await llm.generate(text("a"), sampling={"repetition_penalty": 0.01, "max_tokens": 2})).text()


async def test_an_encoders_refusal_names_the_part(llm: LLM) -> None:
    async with refusal(grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_TRUNCATED", "messages[0].parts[1]"):
        await llm.generate(text("see"), image(PICTURE[: len(PICTURE) // 2]))


async def test_speech_is_refused_by_name_where_its_service_can_only_transcribe(
    start_llm: StartLLM, tmp_path: Path
) -> None:
    bundle = write_speech_bundle(tmp_path, projector_size=0).parent
    settings = SpeechSettings(**FREE, model=bundle)
    clip = llm_pb2.AudioPart(data=SPOKEN.read_bytes())
    async with (
        running(await create_speech(settings), settings) as speech,
        start_llm(speech_target=f"127.0.0.1:{speech.port}") as llm,
        refusal(grpc.StatusCode.FAILED_PRECONDITION, "PROJECTOR_MISSING", "messages[0].parts[0]"),
    ):
        await llm.generate(llm_pb2.ContentPart(audio=clip))


async def test_a_message_beyond_the_limit_is_refused(start_llm: StartLLM) -> None:
    async with (
        start_llm(max_message_bytes=10_000) as llm,
        refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"),
    ):
        await llm.generate(text("a" * 20_000))


async def test_a_full_queue_says_when_to_come_back(start_llm: StartLLM, vision: ScriptedVision) -> None:
    vision.gate.clear()
    async with start_llm(vision_target=f"127.0.0.1:{vision.port}", max_requests=1) as llm:
        waiting = asyncio.create_task(llm.generate(image(), text("?")))
        while not vision.encodes:
            await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await llm.generate(text("a"))
        error = from_rpc_error(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        assert error.retry_after_s == 1
        vision.gate.set()
        assert (await waiting).text()
        assert (await llm.generate(text("a"))).text()
