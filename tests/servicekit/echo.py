"""A service for tests: the speech contract, because it has an RPC of each common shape."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc

from autoglm.speech.v1 import speech_pb2 as pb
from autoglm.speech.v1 import speech_pb2_grpc as pb_grpc
from servicekit.errors import InvalidArgument, Unimplemented
from servicekit.server import Service
from servicekit.settings import ServerSettings
from servicekit.telemetry import remaining_time, request_id

NAME = "autoglm.speech.v1.SpeechService"
SETTINGS = ServerSettings(port=0, health_port=0)
Context = grpc.aio.ServicerContext[Any, Any]


class Echo(pb_grpc.SpeechServiceServicer):
    """Does what `audio` says: refuse, break, wait, or tell who asks and how long there is."""

    def __init__(self, downstream: pb_grpc.SpeechServiceAsyncStub | None = None) -> None:
        self.downstream = downstream
        self.started, self.cancelled = asyncio.Event(), asyncio.Event()
        self.release = asyncio.Event()

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        raise Unimplemented("NO_MODEL", "There is none.")

    async def Transcribe(self, request: pb.TranscribeRequest, context: Context) -> pb.TranscribeResponse:
        return pb.TranscribeResponse(text=await self._do(request.audio, context))

    async def EncodeAudio(
        self, request: pb.EncodeAudioRequest, context: Context
    ) -> AsyncIterator[pb.EncodeAudioResponse]:
        yield pb.EncodeAudioResponse()
        yield pb.EncodeAudioResponse(
            header=pb.EncodeAudioHeader(transcript=await self._do(request.audio, context))
        )

    async def StreamTranscribe(
        self, request_iterator: AsyncIterator[pb.StreamTranscribeRequest], context: Context
    ) -> AsyncIterator[pb.StreamTranscribeResponse]:
        async for request in request_iterator:
            text = await self._do(request.audio, context)
            yield pb.StreamTranscribeResponse(result=pb.StreamTranscribeResult(text=text))

    async def _do(self, order: bytes, context: Context) -> str:
        match order:
            case b"refuse":
                raise InvalidArgument("NOT_THIS", "Anything else.", field="audio", retry_after_s=2)
            case b"break":
                raise RuntimeError("a secret of this house")
            case b"abort":
                await context.abort(grpc.StatusCode.NOT_FOUND, "said by hand")
            case b"wait":
                self.started.set()
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
            case b"pass on" if self.downstream:
                return (await self.downstream.Transcribe(pb.TranscribeRequest(audio=b"who"))).text
        left = remaining_time()
        metadata = dict(context.invocation_metadata() or ())
        seconds = "none" if left is None else f"{left:.1f}"
        return f"{request_id.get()} {seconds} {metadata.get('traceparent', '')!s}"


def service(echo: Echo, **hooks: Any) -> Service:
    return Service(NAME, lambda server: pb_grpc.add_SpeechServiceServicer_to_server(echo, server), **hooks)


async def _transcribe(stub: pb_grpc.SpeechServiceAsyncStub, order: bytes, **options: Any) -> str:
    return (await stub.Transcribe(pb.TranscribeRequest(audio=order), **options)).text


async def _encode(stub: pb_grpc.SpeechServiceAsyncStub, order: bytes, **options: Any) -> str:
    responses = [r async for r in stub.EncodeAudio(pb.EncodeAudioRequest(audio=order), **options)]
    return responses[-1].header.transcript


async def _stream(stub: pb_grpc.SpeechServiceAsyncStub, order: bytes, **options: Any) -> str:
    requests = iter([pb.StreamTranscribeRequest(audio=order)])
    responses = [r async for r in stub.StreamTranscribe(requests, **options)]
    return responses[-1].result.text


Call = Callable[..., Coroutine[Any, Any, str]]
CALLS: dict[str, Call] = {"unary-unary": _transcribe, "unary-stream": _encode, "stream-stream": _stream}
