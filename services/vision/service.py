"""The VisionService of the contract: messages in and out around the pipeline."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import torch

from autoglm.tensor.v1 import tensor_pb2
from autoglm.vision.v1 import vision_pb2, vision_pb2_grpc
from servicekit.checkpoint import CheckpointError
from servicekit.placement import choose_device, choose_dtype
from servicekit.server import Service
from servicekit.settings import SettingsError
from servicekit.tensors import data_type_of, split, to_message
from services.vision.encoder import Encoder
from services.vision.opening import open_checkpoint
from services.vision.pipeline import Encoded, Pipeline
from services.vision.settings import VisionSettings
from services.vision.text.opening import open_text
from services.vision.text.runtime import TextRuntime

NAME = vision_pb2.DESCRIPTOR.services_by_name["VisionService"].full_name
Context = grpc.aio.ServicerContext[Any, Any]


class VisionServicer(vision_pb2_grpc.VisionServiceServicer):
    """Answers the RPCs."""

    def __init__(self, encoder: Encoder, pipeline: Pipeline, settings: VisionSettings):
        self._encoder = encoder
        self._pipeline = pipeline
        self._settings = settings

    async def GetModel(
        self, request: vision_pb2.GetModelRequest, context: Context
    ) -> vision_pb2.GetModelResponse:
        """Describes the encoder without loading it."""
        checkpoint = self._encoder.checkpoint
        return vision_pb2.GetModelResponse(
            model=tensor_pb2.ModelInfo(
                name=checkpoint.name,
                fingerprint=checkpoint.fingerprint,
                hidden_size=checkpoint.hidden_size,
                data_type=data_type_of(self._encoder.dtype),
                device=str(self._encoder.device),
                loaded=self._encoder.loaded,
                parameter_count=checkpoint.parameter_count,
            ),
            max_image_bytes=self._settings.max_image_bytes,
            max_image_pixels=self._settings.max_image_pixels,
        )

    async def EncodeImage(
        self, request: vision_pb2.EncodeImageRequest, context: Context
    ) -> AsyncIterator[vision_pb2.EncodeImageResponse]:
        """Encodes one picture: the header first, then the embedding in chunks."""
        encoded = await self._pipeline.encode(request.image)
        yield vision_pb2.EncodeImageResponse(header=self._header(encoded))
        for chunk in split(encoded.encoding.embedding):
            yield vision_pb2.EncodeImageResponse(chunk=chunk)

    def _header(self, encoded: Encoded) -> vision_pb2.EncodeImageHeader:
        embedding, timings = encoded.encoding.embedding, encoded.timings
        return vision_pb2.EncodeImageHeader(
            embedding=tensor_pb2.EmbeddingHeader(
                modality=tensor_pb2.MODALITY_IMAGE,
                media_digest=encoded.digest,
                model_fingerprint=self._encoder.checkpoint.fingerprint,
                token_count=embedding.shape[0],
                shape=embedding.shape,
                data_type=data_type_of(embedding.dtype),
                side_tensors=_side_tensors(encoded),
            ),
            cache_hit=encoded.cache_hit,
            timings=vision_pb2.EncodeImageTimings(
                queue_ms=timings.queue_s * 1e3,
                decode_ms=timings.decode_s * 1e3,
                forward_ms=timings.forward_s * 1e3,
                read_ms=timings.read_s * 1e3,
            ),
            width=encoded.encoding.width,
            height=encoded.encoding.height,
            text_lines=[
                vision_pb2.TextLine(text=line.text, confidence=line.confidence, quad=line.quad)
                for line in encoded.encoding.text.lines
            ],
            text_incomplete=not encoded.encoding.text.complete,
        )


def _side_tensors(encoded: Encoded) -> list[tensor_pb2.NamedTensor]:
    """`grid_thw`, int64 [3], where the family has one: the backbone's positions follow from it."""
    grid_thw = encoded.encoding.grid_thw
    if grid_thw is None:
        return []
    return [tensor_pb2.NamedTensor(name="grid_thw", tensor=to_message(torch.tensor(grid_thw)))]


async def create_service(settings: VisionSettings) -> Service:
    """The service as the boot function takes it; raises SettingsError when model or device cannot be used."""
    if settings.num_threads:
        torch.set_num_threads(settings.num_threads)
    device = choose_device(settings.device)
    try:
        checkpoint = await asyncio.to_thread(
            open_checkpoint, settings.model, settings.min_pixels, settings.max_pixels
        )
    except CheckpointError as error:
        raise SettingsError(f"vision.model: {error}") from error
    dtype = choose_dtype(settings.dtype, device)
    encoder = Encoder(checkpoint, device, dtype, settings.max_batch, settings.max_patches)
    return build_service(encoder, settings, open_text(settings, checkpoint))


def build_service(encoder: Encoder, settings: VisionSettings, text: TextRuntime | None = None) -> Service:
    """The service around an encoder, and around a text reader if there is one."""
    pipeline = Pipeline(encoder, settings, text)
    servicer = VisionServicer(encoder, pipeline, settings)
    return Service(
        name=NAME,
        register=lambda server: vision_pb2_grpc.add_VisionServiceServicer_to_server(servicer, server),
        warm_up=pipeline.warm_up,
        close=pipeline.close,
        healthy=pipeline.healthy,
    )
