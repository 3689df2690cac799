"""Speech in a conversation: as tokens where the backbone takes them, as text where it does not."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
import torch

from autoglm.llm.v1 import llm_pb2
from autoglm.tensor.v1 import tensor_pb2
from servicekit.errors import InvalidArgument, Unavailable
from servicekit.server import running
from servicekit.settings import ServerSettings
from tests.contract.llm_client import LLM, StartLLM, brought, image, refusal, text, user
from tests.contract.scripted_vision import ScriptedVision
from tests.gateway.scripted_speech import TRANSCRIPT, ScriptedSpeech

CLIP = b"RIFF of a question"
HEARD = TRANSCRIPT.text


def audio(data: bytes = CLIP) -> llm_pb2.ContentPart:
    return llm_pb2.ContentPart(audio=llm_pb2.AudioPart(data=data))


@pytest.fixture
async def speech() -> AsyncIterator[ScriptedSpeech]:
    speech = ScriptedSpeech()
    async with running(speech.service, ServerSettings(port=0, health_port=0)) as server:
        speech.port = server.port
        yield speech


@pytest.fixture
async def hearing(start_llm: StartLLM, speech: ScriptedSpeech) -> AsyncIterator[LLM]:
    """A native backbone beside a speech service."""
    async with start_llm(speech_target=f"127.0.0.1:{speech.port}") as llm:
        yield llm


@pytest.fixture
async def reading(
    start_llm: StartLLM, speech: ScriptedSpeech, published: Callable[[str], Path]
) -> AsyncIterator[LLM]:
    """A published backbone beside a speech service."""
    folder = published("Glm4ForCausalLM")
    async with start_llm(model=folder, speech_target=f"127.0.0.1:{speech.port}") as llm:
        yield llm


async def test_speech_is_weighed_and_its_transcript_told(hearing: LLM, speech: ScriptedSpeech) -> None:
    answer = await hearing.generate(audio(), text("?"))
    (medium,) = answer.finish.receipt.media
    assert (medium.modality, medium.source) == (tensor_pb2.MODALITY_AUDIO, llm_pb2.MEDIA_SOURCE_ENCODED)
    assert medium.transcript == HEARD
    (weights,) = answer.finish.gate_weights
    assert weights.audio > 0
    assert weights.image == 0
    assert speech.encoded == [CLIP]


async def test_a_clip_heard_before_is_not_sent_again(hearing: LLM, speech: ScriptedSpeech) -> None:
    await hearing.generate(audio())
    answer = await hearing.generate(audio())
    (medium,) = answer.finish.receipt.media
    assert (medium.source, medium.transcript) == (llm_pb2.MEDIA_SOURCE_LOCAL_CACHE, HEARD)
    assert len(speech.encoded) == 1


async def test_all_three_modalities_meet_in_one_message(
    start_llm: StartLLM, speech: ScriptedSpeech, vision: ScriptedVision
) -> None:
    targets = {name: f"127.0.0.1:{one.port}" for name, one in (("speech", speech), ("vision", vision))}
    async with start_llm(speech_target=targets["speech"], vision_target=targets["vision"]) as llm:
        answer = await llm.generate(audio(), image(), text("?"), audio(b"another clip"))
    (weights,) = answer.finish.gate_weights
    assert min(weights.text, weights.image, weights.audio) > 0
    assert weights.text + weights.image + weights.audio == pytest.approx(1, abs=1e-5)
    assert [medium.transcript for medium in answer.finish.receipt.media] == [HEARD, "", HEARD]


async def test_a_clip_that_is_refused_is_named(hearing: LLM, speech: ScriptedSpeech) -> None:
    speech.refusal = InvalidArgument("AUDIO_UNREADABLE", "It is no sound.")
    async with refusal(grpc.StatusCode.INVALID_ARGUMENT, "AUDIO_UNREADABLE", "messages[0].parts[1]"):
        await hearing.generate(text("?"), audio())


async def test_a_service_that_is_away_is_named(start_llm: StartLLM) -> None:
    async with (
        start_llm(speech_target="127.0.0.1:1") as llm,
        refusal(grpc.StatusCode.UNAVAILABLE, "SPEECH_UNAVAILABLE", "messages[0].parts[0]"),
    ):
        await llm.generate(audio())


async def test_a_published_backbone_reads_what_is_said(reading: LLM, speech: ScriptedSpeech) -> None:
    said = llm_pb2.TokenizeRequest(messages=[user(audio(), text("?"))])
    written = llm_pb2.TokenizeRequest(messages=[user(text(HEARD), text("?"))])
    heard_ids = (await reading.stub.Tokenize(said)).token_ids
    assert heard_ids == (await reading.stub.Tokenize(written)).token_ids
    answer = await reading.generate(audio(), text("?"))
    (medium,) = answer.finish.receipt.media
    assert (medium.source, medium.token_count) == (llm_pb2.MEDIA_SOURCE_LOCAL_CACHE, 0)
    assert medium.transcript == HEARD
    assert answer.finish.usage.prompt_tokens == len(heard_ids)
    assert (len(speech.transcribed), speech.encoded) == (1, [])


async def test_a_published_backbone_takes_no_speech_tokens(reading: LLM) -> None:
    async with refusal(grpc.StatusCode.INVALID_ARGUMENT, "CONTENT_UNSUPPORTED", "messages[0].parts[0]"):
        await reading.generate(brought(torch.ones(2, 32), modality=tensor_pb2.MODALITY_AUDIO))


async def test_a_transcript_that_cannot_be_had_is_named(reading: LLM, speech: ScriptedSpeech) -> None:
    speech.refusal = Unavailable("SHUTTING_DOWN", "Going away.")
    async with refusal(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", "messages[0].parts[0]"):
        await reading.generate(audio())
