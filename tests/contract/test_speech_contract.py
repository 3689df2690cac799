"""SpeechService against its contract, over the wire, with a tiny random recogniser."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
import torch
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from autoglm.tensor.v1 import tensor_pb2
from servicekit.channel import open_channel
from servicekit.server import RunningServer, running
from services.speech.service import NAME, create_service
from services.speech.settings import SpeechSettings
from tests.bundles import write_speech_bundle

Stub: TypeAlias = "speech_pb2_grpc.SpeechServiceAsyncStub"  # exists for type checkers only
LIMIT_S = 60.0
MAX_MESSAGE_BYTES = 1 << 20
SPOKEN = Path(__file__).parents[1] / "speech" / "clips" / "apple.opus"
SILENCE = bytes(2 * 16_000)


def pcm(**values: Any) -> speech_pb2.AudioFormat:
    layout = {"encoding": speech_pb2.AUDIO_ENCODING_PCM_S16LE, "sample_rate_hertz": 16_000} | values
    return speech_pb2.AudioFormat(**layout)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    settings = SpeechSettings(
        port=0,
        health_port=0,
        metrics_port=None,
        model=write_speech_bundle(tmp_path).parent,
        device="cpu",
        max_audio_bytes=MAX_MESSAGE_BYTES - 1,
        max_message_bytes=MAX_MESSAGE_BYTES,
        max_audio_seconds=20,
    )
    async with running(await create_service(settings), settings) as server:
        yield server


@pytest.fixture
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Stub:
    return speech_pb2_grpc.SpeechServiceStub(channel)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    assert info.domain == "speech.autoglm"
    return str(info.reason)


async def test_the_model_says_what_it_is(stub: Stub) -> None:
    answer = await stub.GetModel(speech_pb2.GetModelRequest(), timeout=LIMIT_S)
    assert (answer.model.name, answer.model.hidden_size, answer.model.loaded) == ("tiny", 32, True)
    assert answer.max_audio_bytes == MAX_MESSAGE_BYTES - 1
    assert answer.max_audio_duration.seconds == 20
    assert answer.sample_rate_hertz == 22_050


async def test_an_encode_is_a_header_then_rows_for_each_character(stub: Stub) -> None:
    request = speech_pb2.EncodeAudioRequest(audio=SPOKEN.read_bytes())
    first, *rows = [part async for part in stub.EncodeAudio(request, timeout=LIMIT_S)]
    header = first.header
    assert header.embedding.modality == tensor_pb2.MODALITY_AUDIO
    assert header.embedding.token_count == len(header.transcript) > 0
    assert list(header.embedding.shape) == [len(header.transcript), 32]
    assert header.audio_duration.ToMilliseconds() == pytest.approx(3325, abs=10)
    assert sum(row.chunk.shape[0] for row in rows) == header.embedding.token_count
    data = bytearray(b"".join(row.chunk.data for row in rows))
    assert torch.frombuffer(data, dtype=torch.float32).isfinite().all()
    again = [part async for part in stub.EncodeAudio(request, timeout=LIMIT_S)]
    assert again[0].header.cache_hit
    assert [part.chunk.data for part in again[1:]] == [row.chunk.data for row in rows]


async def test_a_transcript_says_when_each_character_was_spoken(stub: Stub) -> None:
    request = speech_pb2.TranscribeRequest(audio=SPOKEN.read_bytes(), language_code="zh-CN")
    answer = await stub.Transcribe(request, timeout=LIMIT_S)
    [segment] = answer.segments
    assert answer.text == segment.text == "".join(character.text for character in segment.characters)
    assert answer.language_code == "zh-CN"
    assert 0 <= segment.confidence <= 1
    ends = [character.end_offset.ToMilliseconds() for character in segment.characters]
    assert ends == sorted(ends)
    assert ends[-1] <= segment.end_offset.ToMilliseconds() <= answer.audio_duration.ToMilliseconds()


async def test_silence_has_a_transcript_without_text(stub: Stub) -> None:
    answer = await stub.Transcribe(speech_pb2.TranscribeRequest(audio=SILENCE, format=pcm()), timeout=LIMIT_S)
    assert (answer.text, list(answer.segments), answer.audio_duration.seconds) == ("", [], 1)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (speech_pb2.TranscribeRequest(), "AUDIO_EMPTY"),
        (speech_pb2.TranscribeRequest(audio=b"hello"), "AUDIO_UNREADABLE"),
        (speech_pb2.TranscribeRequest(audio=bytes(MAX_MESSAGE_BYTES), format=pcm()), None),
        (speech_pb2.TranscribeRequest(audio=bytes(21 * 32_000), format=pcm()), "AUDIO_TOO_LONG"),
        (speech_pb2.TranscribeRequest(audio=bytes(100), format=pcm()), "AUDIO_TOO_SHORT"),
        (
            speech_pb2.TranscribeRequest(audio=SILENCE, format=pcm(sample_rate_hertz=1)),
            "AUDIO_RATE_UNSUPPORTED",
        ),
        (
            speech_pb2.TranscribeRequest(audio=SILENCE, format=pcm(channel_count=0)),
            "AUDIO_CHANNELS_UNSUPPORTED",
        ),
        (speech_pb2.TranscribeRequest(audio=SILENCE, format=pcm(encoding=99)), "AUDIO_ENCODING_UNKNOWN"),
        (speech_pb2.TranscribeRequest(audio=SILENCE, language_code="en-US"), "LANGUAGE_UNSUPPORTED"),
        (speech_pb2.TranscribeRequest(audio=SILENCE, phrases=[speech_pb2.Phrase()]), "PHRASE_INVALID"),
        (
            speech_pb2.TranscribeRequest(audio=SILENCE, phrases=[speech_pb2.Phrase(text="你", boost=99)]),
            "PHRASE_INVALID",
        ),
        (
            speech_pb2.TranscribeRequest(audio=SILENCE, phrases=[speech_pb2.Phrase(text="你")] * 501),
            "PHRASE_INVALID",
        ),
    ],
)
async def test_what_cannot_be_heard_is_refused_by_name(
    stub: Stub, request_: speech_pb2.TranscribeRequest, reason: str | None
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Transcribe(request_, timeout=LIMIT_S)
    if reason is None:  # gRPC itself says no
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    else:
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason_of(refused.value) == reason


@pytest.mark.parametrize(
    ("format_", "reason"),
    [
        (pcm(channel_count=0), "AUDIO_CHANNELS_UNSUPPORTED"),
        (pcm(channel_count=70_000), "AUDIO_CHANNELS_UNSUPPORTED"),
        (pcm(sample_rate_hertz=-1), "AUDIO_RATE_UNSUPPORTED"),
    ],
)
async def test_what_cannot_be_heard_cannot_be_encoded(
    stub: Stub, format_: speech_pb2.AudioFormat, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.EncodeAudio(speech_pb2.EncodeAudioRequest(audio=SILENCE, format=format_)).read()
    assert reason_of(refused.value) == reason


async def test_silence_has_no_embedding(stub: Stub) -> None:
    request = speech_pb2.EncodeAudioRequest(audio=SILENCE, format=pcm())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.EncodeAudio(request, timeout=LIMIT_S).read()
    assert reason_of(refused.value) == "AUDIO_SILENT"


async def test_it_is_healthy(server: RunningServer) -> None:
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
