"""The llm service as its callers see it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch

from autoglm.llm.v1 import llm_pb2, llm_pb2_grpc
from autoglm.tensor.v1 import tensor_pb2
from servicekit.errors import ServiceError, from_rpc_error
from servicekit.server import RunningServer, running
from servicekit.tensors import to_message
from services.vision.service import create_service as create_vision
from services.vision.settings import VisionSettings
from tests.contract.scripted_vision import FINGERPRINT
from tests.pictures import file_of, photo

FREE = {"port": 0, "health_port": 0, "metrics_port": None}
PICTURE = file_of(photo())


@dataclass
class LLM:
    """A running service as its callers see it."""

    server: RunningServer
    stub: "llm_pb2_grpc.LLMServiceAsyncStub"

    async def generate(self, *parts: llm_pb2.ContentPart, **options: Any) -> "Answer":
        """Asks one user message to the end."""
        return await self.converse([user(*parts)], **options)

    async def converse(self, messages: list[llm_pb2.ChatMessage], **options: Any) -> "Answer":
        sampling = options.pop("sampling", {"max_tokens": 8})
        timeout = options.pop("timeout", 20)
        request = llm_pb2.GenerateRequest(
            messages=messages, sampling=llm_pb2.SamplingParams(**sampling), **options
        )
        *deltas, last = [r async for r in self.stub.Generate(request, timeout=timeout)]
        return Answer([r.delta for r in deltas], last.finish)


@dataclass
class Answer:
    """What came of one request."""

    deltas: list[llm_pb2.Delta]
    finish: llm_pb2.Finish

    def text(self, channel: "llm_pb2.Channel.ValueType" = llm_pb2.CHANNEL_CONTENT) -> str:
        return "".join(delta.text for delta in self.deltas if delta.channel == channel)


def text(words: str) -> llm_pb2.ContentPart:
    return llm_pb2.ContentPart(text=words)


def image(data: bytes = PICTURE) -> llm_pb2.ContentPart:
    return llm_pb2.ContentPart(image=llm_pb2.ImagePart(data=data))


def user(*parts: llm_pb2.ContentPart) -> llm_pb2.ChatMessage:
    return llm_pb2.ChatMessage(role=llm_pb2.ROLE_USER, parts=parts)


def assistant(words: str) -> llm_pb2.ChatMessage:
    return llm_pb2.ChatMessage(role=llm_pb2.ROLE_ASSISTANT, parts=[text(words)])


def brought(embedding_TD: torch.Tensor, **header: Any) -> llm_pb2.ContentPart:
    """An embedding as a caller brings it; any field of its header can be spoiled."""
    message = to_message(embedding_TD)
    plain = {
        "modality": tensor_pb2.MODALITY_IMAGE,
        "media_digest": bytes(32),
        "model_fingerprint": FINGERPRINT,
        "token_count": len(embedding_TD),
        "shape": message.shape,
        "data_type": message.data_type,
    }
    embedding = tensor_pb2.Embedding(header=tensor_pb2.EmbeddingHeader(**{**plain, **header}), tensor=message)
    return llm_pb2.ContentPart(embedding=embedding)


@asynccontextmanager
async def refusal(code: grpc.StatusCode, reason: str, field: str | None = None) -> AsyncIterator[None]:
    """The block fails with this status, reason and field."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield
    error: ServiceError = from_rpc_error(caught.value)
    assert (error.code, error.reason, error.field) == (code, reason, field)


@asynccontextmanager
async def start_vision(bundle: Path, port: int = 0) -> AsyncIterator[RunningServer]:
    settings = VisionSettings(model=bundle, **{**FREE, "port": port})
    async with running(await create_vision(settings), settings) as server:
        yield server


async def until_answered(llm: LLM, part: llm_pb2.ContentPart, meanwhile: str = "VISION_UNAVAILABLE") -> None:
    """Asks until there is an answer, as a caller does that is told to come again."""
    async with asyncio.timeout(10):
        while True:
            try:
                answer = await llm.generate(part, text("?"))
            except grpc.aio.AioRpcError as error:
                if from_rpc_error(error).reason != meanwhile:
                    raise
                await asyncio.sleep(0.05)
            else:
                assert answer.text()
                return


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


StartLLM = Callable[..., AbstractAsyncContextManager[LLM]]
