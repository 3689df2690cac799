"""A service for tests: the speech contract, and beside it the one RPC shape it does not have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc

from autoglm.speech.v1 import speech_pb2 as pb
from autoglm.speech.v1 import speech_pb2_grpc as pb_grpc
from servicekit.errors import InvalidArgument, ResourceExhausted, Unimplemented
from servicekit.server import Service
from servicekit.settings import ServerSettings
from servicekit.telemetry import remaining_time, request_id

NAME = "autoglm.speech.v1.SpeechService"
COLLECTOR = "tests.v1.Collector"
FLOOD = 1 << 20  # more than gRPC takes before somebody reads
SETTINGS = ServerSettings(port=0, health_port=0)
Context = grpc.aio.ServicerContext[Any, Any]


class Echo(pb_grpc.SpeechServiceServicer):
    """Does what `audio` says: refuse, break, wait, or tell who asks and how long there is."""

    def __init__(self, downstream: grpc.aio.Channel | None = None) -> None:
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
        if request.audio == b"flood":
            try:
                while True:
                    yield pb.EncodeAudioResponse(header=pb.EncodeAudioHeader(transcript="x" * FLOOD))
            finally:
                self.cancelled.set()
        yield pb.EncodeAudioResponse(
            header=pb.EncodeAudioHeader(transcript=await self._do(request.audio, context))
        )

    async def StreamTranscribe(
        self, request_iterator: AsyncIterator[pb.StreamTranscribeRequest], context: Context
    ) -> AsyncIterator[pb.StreamTranscribeResponse]:
        async for request in request_iterator:
            text = await self._do(request.audio, context)
            yield pb.StreamTranscribeResponse(result=pb.StreamTranscribeResult(text=text))

    async def collect(
        self, request_iterator: AsyncIterator[pb.TranscribeRequest], context: Context
    ) -> pb.TranscribeResponse:
        orders = [request.audio async for request in request_iterator]
        return pb.TranscribeResponse(text=await self._do(b"".join(orders), context))

    async def _do(self, order: bytes, context: Context) -> str:
        match order:
            case b"refuse":
                raise InvalidArgument("NOT_THIS", "Anything else.", field="audio", retry_after_s=2)
            case b"break":
                raise RuntimeError("a secret of this house")
            case b"break by hand":
                context.set_code(grpc.StatusCode.DATA_LOSS)
                context.set_details("said by hand")
                raise RuntimeError("a secret of this house")
            case b"trip":
                abandoned = asyncio.create_task(asyncio.sleep(60))
                abandoned.cancel()
                await abandoned
            case b"give up":
                call = asyncio.current_task()
                assert call is not None
                call.cancel(ResourceExhausted("NOBODY_READS", "It has waited long enough."))
                await asyncio.sleep(60)
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
                return await _transcribe(self.downstream, b"who")
            case b"pass the wait on" if self.downstream:
                return await _transcribe(self.downstream, b"wait")
        left = remaining_time()
        metadata = dict(context.invocation_metadata() or ())
        seconds = "none" if left is None else f"{left:.1f}"
        return f"{request_id.get()} {seconds} {metadata.get('traceparent', '')!s}"


def service(echo: Echo, **hooks: Any) -> Service:
    def register(server: grpc.aio.Server) -> None:
        pb_grpc.add_SpeechServiceServicer_to_server(echo, server)
        collect = grpc.stream_unary_rpc_method_handler(
            echo.collect, pb.TranscribeRequest.FromString, pb.TranscribeResponse.SerializeToString
        )
        handler = grpc.method_handlers_generic_handler(COLLECTOR, {"Collect": collect})
        server.add_generic_rpc_handlers((handler,))

    return Service(NAME, register, **hooks)


async def _transcribe(channel: grpc.aio.Channel, order: bytes, **options: Any) -> str:
    stub = pb_grpc.SpeechServiceStub(channel)
    return (await stub.Transcribe(pb.TranscribeRequest(audio=order), **options)).text


async def _encode(channel: grpc.aio.Channel, order: bytes, **options: Any) -> str:
    stub = pb_grpc.SpeechServiceStub(channel)
    responses = [r async for r in stub.EncodeAudio(pb.EncodeAudioRequest(audio=order), **options)]
    return responses[-1].header.transcript


async def _collect(channel: grpc.aio.Channel, order: bytes, **options: Any) -> str:
    collect: Any = channel.stream_unary(
        f"/{COLLECTOR}/Collect", pb.TranscribeRequest.SerializeToString, pb.TranscribeResponse.FromString
    )
    requests = iter([pb.TranscribeRequest(audio=order[:1]), pb.TranscribeRequest(audio=order[1:])])
    response: pb.TranscribeResponse = await collect(requests, **options)
    return response.text


async def _stream(channel: grpc.aio.Channel, order: bytes, **options: Any) -> str:
    stub = pb_grpc.SpeechServiceStub(channel)
    requests = iter([pb.StreamTranscribeRequest(audio=order)])
    responses = [r async for r in stub.StreamTranscribe(requests, **options)]
    return responses[-1].result.text


Call = Callable[..., Coroutine[Any, Any, str]]
CALLS: dict[str, Call] = {
    "unary-unary": _transcribe,
    "unary-stream": _encode,
    "stream-unary": _collect,
    "stream-stream": _stream,
}
