"""A live stream to a tiny random recogniser, over the wire: what is sent, and what comes back."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from servicekit.call_status import CallStatus
from servicekit.channel import open_channel
from servicekit.server import running
from services.speech import metrics
from services.speech.service import create_service
from services.speech.settings import SpeechSettings

Stub: TypeAlias = "speech_pb2_grpc.SpeechServiceAsyncStub"  # exists for type checkers only
Request = speech_pb2.StreamTranscribeRequest
Response = speech_pb2.StreamTranscribeResponse
StartSpeech = Callable[..., AbstractAsyncContextManager[Stub]]
LIMIT_S = 60.0
RATE = 16_000
SPOKEN = Path(__file__).parents[1] / "speech" / "clips" / "apple.opus"
PCM = speech_pb2.AudioFormat(encoding=speech_pb2.AUDIO_ENCODING_PCM_S16LE, sample_rate_hertz=RATE)
FLOATS = speech_pb2.AudioFormat(encoding=speech_pb2.AUDIO_ENCODING_PCM_F32LE, sample_rate_hertz=RATE)
WIDTHS = (1, 7, 640, 3_201, 50_000)


@asynccontextmanager
async def listening(bundle: Path, **values: Any) -> AsyncIterator[str]:
    settings = SpeechSettings(port=0, health_port=0, metrics_port=None, model=bundle, device="cpu", **values)
    async with running(await create_service(settings), settings) as server:
        yield f"127.0.0.1:{server.port}"


@asynccontextmanager
async def connected(bundle: Path, **values: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with listening(bundle, **values) as target, open_channel(target) as channel:
        yield channel


def config(**values: Any) -> Request:
    return Request(config=speech_pb2.StreamTranscribeConfig(**{"format": PCM, **values}))


def unknown_encoding() -> speech_pb2.AudioFormat:
    """From a later contract: field 1 is 77."""
    return speech_pb2.AudioFormat.FromString(b"\x08\x4d")


def pieces(data: bytes, *widths: int, seed: int = 0) -> list[Request]:
    draw, place, found = random.Random(seed), 0, []
    while place < len(data):
        width = draw.choice(widths)
        found.append(Request(audio=data[place : place + width]))
        place += width
    return found


async def hear(stub: Stub, requests: Sequence[Request]) -> list[Response]:
    call = stub.StreamTranscribe(iter(requests), timeout=LIMIT_S)
    status = CallStatus(call)
    try:
        return [response async for response in call]
    except grpc.aio.AioRpcError as error:
        raise await status.told(error) from error


def finals(responses: Sequence[Response]) -> list[speech_pb2.StreamTranscribeResult]:
    return [response.result for response in responses if response.result.is_final]


async def refusal(stub: Stub, *requests: Request) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await hear(stub, requests)
    return refused.value.code(), reason_of(refused.value)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    return str(info.reason)


def streams() -> float:
    """Live streams that the service counts."""
    return float(metrics.STREAMS._value.get())


async def until(true: Callable[[], bool], patience_s: float = 10) -> None:
    async with asyncio.timeout(patience_s):
        while not true():
            await asyncio.sleep(0.02)
