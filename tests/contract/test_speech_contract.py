"""SpeechService against its contract, before there is a model: every RPC is refused by name, in its shape."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from servicekit.channel import open_channel
from servicekit.server import RunningServer, running
from services.speech.service import NAME, create_service
from services.speech.settings import SpeechSettings

Stub: TypeAlias = "speech_pb2_grpc.SpeechServiceAsyncStub"  # exists for type checkers only
LIMIT_S = 10.0
MAX_MESSAGE_BYTES = 1 << 20


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    settings = SpeechSettings(port=0, health_port=0, metrics_port=None, max_message_bytes=MAX_MESSAGE_BYTES)
    async with running(await create_service(settings), settings) as server:
        yield server


@pytest.fixture
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


async def get_model(stub: Stub) -> None:
    await stub.GetModel(speech_pb2.GetModelRequest(), timeout=LIMIT_S)


async def encode(stub: Stub) -> None:
    async for _ in stub.EncodeAudio(speech_pb2.EncodeAudioRequest(audio=b"RIFF"), timeout=LIMIT_S):
        pytest.fail("a refused encode has no answer")


async def transcribe(stub: Stub) -> None:
    await stub.Transcribe(speech_pb2.TranscribeRequest(audio=b"RIFF"), timeout=LIMIT_S)


async def transcribe_while_spoken(stub: Stub) -> None:
    call = stub.StreamTranscribe(timeout=LIMIT_S)
    await call.write(speech_pb2.StreamTranscribeRequest(config=speech_pb2.StreamTranscribeConfig()))
    async for _ in call:  # still speaking: the refusal does not wait for the half-close
        pytest.fail("a refused transcription has no answer")


CALLS = {
    "GetModel": get_model,
    "EncodeAudio": encode,
    "Transcribe": transcribe,
    "StreamTranscribe": transcribe_while_spoken,
}


def test_every_rpc_of_the_contract_is_tried() -> None:
    assert set(CALLS) == {m.name for m in speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].methods}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_every_rpc_is_refused_by_name(
    channel: grpc.aio.Channel, call: Callable[[Stub], Awaitable[None]]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(speech_pb2_grpc.SpeechServiceStub(channel))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    status = rpc_status.from_call(refused.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == ("SPEECH_NOT_AVAILABLE", "speech.autoglm")
    assert "no speech model" in status.message


async def test_a_clip_beyond_the_message_limit_is_refused(channel: grpc.aio.Channel) -> None:
    stub = speech_pb2_grpc.SpeechServiceStub(channel)
    request = speech_pb2.TranscribeRequest(audio=bytes(MAX_MESSAGE_BYTES + 1))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Transcribe(request, timeout=LIMIT_S)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_it_is_healthy_because_it_does_all_that_it_says(server: RunningServer) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.health_port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        response = await health.Check(health_pb2.HealthCheckRequest(service=NAME), timeout=LIMIT_S)
    assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_describes_the_contract(channel: grpc.aio.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    requests = iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=NAME)])
    answers = [answer async for answer in stub.ServerReflectionInfo(requests, timeout=LIMIT_S)]
    files = answers[0].file_descriptor_response.file_descriptor_proto
    assert speech_pb2.DESCRIPTOR.serialized_pb in files
