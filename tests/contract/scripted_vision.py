"""A vision service that answers as a test tells it to, for what a real one never says."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import torch

from autoglm.tensor.v1 import tensor_pb2
from autoglm.vision.v1 import vision_pb2, vision_pb2_grpc
from servicekit.tensors import data_type_of, split

FINGERPRINT = "scripted@0000000000000000"
HIDDEN, TOKENS = 32, 5


class ScriptedVision(vision_pb2_grpc.VisionServiceServicer):
    """Encodes any bytes as one fixed embedding; every field of the answer can be spoiled."""

    def __init__(self, embedding_TD: torch.Tensor):
        self.embedding_TD = embedding_TD
        self.header: dict[str, Any] = {}
        self.beside: dict[str, Any] = {}
        self.chunks: list[tensor_pb2.Tensor] | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.encodes = self.cancelled = self.port = 0
        self.stop: Callable[[float | None], Awaitable[None]]

    async def GetModel(
        self, request: vision_pb2.GetModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> vision_pb2.GetModelResponse:
        return vision_pb2.GetModelResponse(model=tensor_pb2.ModelInfo(fingerprint=FINGERPRINT))

    async def EncodeImage(
        self, request: vision_pb2.EncodeImageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[vision_pb2.EncodeImageResponse]:
        self.encodes += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        header = {
            "modality": tensor_pb2.MODALITY_IMAGE,
            "media_digest": hashlib.sha256(request.image).digest(),
            "model_fingerprint": FINGERPRINT,
            "token_count": len(self.embedding_TD),
            "shape": self.embedding_TD.shape,
            "data_type": data_type_of(self.embedding_TD.dtype),
        }
        embedding = tensor_pb2.EmbeddingHeader(**{**header, **self.header})
        yield vision_pb2.EncodeImageResponse(
            header=vision_pb2.EncodeImageHeader(embedding=embedding, **self.beside)
        )
        for chunk in split(self.embedding_TD, 4096) if self.chunks is None else self.chunks:
            yield vision_pb2.EncodeImageResponse(chunk=chunk)
