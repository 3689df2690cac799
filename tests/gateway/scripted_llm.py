"""An llm service that says what a test tells it to, over real gRPC."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from autoglm.llm.v1 import llm_pb2, llm_pb2_grpc
from autoglm.tensor.v1 import tensor_pb2
from servicekit.errors import ServiceError, Unimplemented
from servicekit.server import Service

NAME = "autoglm.llm.v1.LLMService"
MODEL = "scripted"
PAUSE = "pause"
Step = llm_pb2.GenerateResponse | Exception | grpc.StatusCode | str
Context = grpc.aio.ServicerContext[Any, Any]


def said(text: str, **more: Any) -> llm_pb2.GenerateResponse:
    delta = llm_pb2.Delta(channel=llm_pb2.CHANNEL_CONTENT, text=text, **more)
    return llm_pb2.GenerateResponse(delta=delta)


def thought(text: str, **more: Any) -> llm_pb2.GenerateResponse:
    delta = llm_pb2.Delta(channel=llm_pb2.CHANNEL_REASONING, text=text, **more)
    return llm_pb2.GenerateResponse(delta=delta)


OPENED, CLOSED = thought("", markup="<think>"), said("", markup="</think>")


def finish(reason: "llm_pb2.FinishReason.ValueType" = llm_pb2.FINISH_REASON_STOP) -> llm_pb2.GenerateResponse:
    usage = llm_pb2.Usage(prompt_tokens=7, cached_tokens=4, completion_tokens=5, reasoning_tokens=2)
    medium = llm_pb2.MediaReceipt(
        modality=tensor_pb2.MODALITY_IMAGE, source=llm_pb2.MEDIA_SOURCE_ENCODED, sent_bytes=99
    )
    end = llm_pb2.Finish(
        reason=reason,
        usage=usage,
        gate_weights=[llm_pb2.GateWeights(text=0.25, image=0.75)],
        receipt=llm_pb2.Receipt(media=[medium], steps=5),
    )
    return llm_pb2.GenerateResponse(finish=end)


ANSWER: tuple[Step, ...] = (said("红"), said("苹果"), finish())


class ScriptedLLM(llm_pb2_grpc.LLMServiceServicer):
    """Each call plays the next script, or ANSWER when none is left.

    A step is an event to send, an error to raise, a bare status to abort with, or PAUSE: wait for `release`.
    """

    def __init__(self) -> None:
        self.port = self.health_port = 0
        self.is_healthy = True
        self.model_refusal: ServiceError | None = None
        self.model_calls = 0
        self.requests: list[llm_pb2.GenerateRequest] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.seconds_left: list[float] = []
        self.waiting, self.release, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._scripts: list[Sequence[Step]] = []

    @property
    def service(self) -> Service:
        """As the boot function takes it."""

        def register(server: grpc.aio.Server) -> None:
            llm_pb2_grpc.add_LLMServiceServicer_to_server(self, server)

        return Service(NAME, register, healthy=lambda: self.is_healthy)

    def will(self, *script: Step) -> None:
        """What the next call without a script plays."""
        self._scripts.append(script)

    async def GetModel(self, request: llm_pb2.GetModelRequest, context: Context) -> llm_pb2.GetModelResponse:
        self.model_calls += 1
        if self.model_refusal is not None:
            raise self.model_refusal
        return llm_pb2.GetModelResponse(model=tensor_pb2.ModelInfo(name=MODEL), max_context_tokens=512)

    async def Tokenize(self, request: llm_pb2.TokenizeRequest, context: Context) -> llm_pb2.TokenizeResponse:
        raise Unimplemented("NOT_SCRIPTED", "Answers are all that is scripted.")

    async def Detokenize(
        self, request: llm_pb2.DetokenizeRequest, context: Context
    ) -> llm_pb2.DetokenizeResponse:
        raise Unimplemented("NOT_SCRIPTED", "Answers are all that is scripted.")

    async def Generate(
        self, request: llm_pb2.GenerateRequest, context: Context
    ) -> AsyncIterator[llm_pb2.GenerateResponse]:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self.seconds_left.append(context.time_remaining())
        for step in self._scripts.pop(0) if self._scripts else ANSWER:
            match step:
                case llm_pb2.GenerateResponse():
                    yield step
                case Exception():
                    raise step
                case grpc.StatusCode():
                    await context.abort(step, "no details")
                case _:
                    await self._pause()

    async def _pause(self) -> None:
        self.waiting.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
