"""The SpeechService of the contract: messages in and out around the pipeline."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import torch

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from autoglm.tensor.v1 import tensor_pb2
from servicekit.checkpoint import CheckpointError
from servicekit.placement import choose_device, choose_dtype
from servicekit.server import Service
from servicekit.settings import SettingsError
from servicekit.tensors import data_type_of, split
from services.speech.checkpoint import Checkpoint
from services.speech.messages import (
    audio_format,
    check_language,
    duration,
    phrase_machine,
    transcript_message,
)
from services.speech.pipeline import Encoded, Pipeline
from services.speech.runtime import Runtime
from services.speech.settings import SpeechSettings
from services.speech.streaming.streams import LiveStreams

NAME = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name
Context = grpc.aio.ServicerContext[Any, Any]


class SpeechServicer(speech_pb2_grpc.SpeechServiceServicer):
    """Answers the RPCs."""

    def __init__(self, runtime: Runtime, pipeline: Pipeline, streams: LiveStreams, settings: SpeechSettings):
        self._runtime = runtime
        self._pipeline = pipeline
        self._streams = streams
        self._settings = settings

    async def GetModel(
        self, request: speech_pb2.GetModelRequest, context: Context
    ) -> speech_pb2.GetModelResponse:
        """Describes the recogniser without loading it."""
        checkpoint = self._runtime.checkpoint
        return speech_pb2.GetModelResponse(
            model=tensor_pb2.ModelInfo(
                name=checkpoint.name,
                fingerprint=checkpoint.fingerprint,
                hidden_size=checkpoint.config.projector_size,
                data_type=data_type_of(self._runtime.dtype),
                device=str(self._runtime.device),
                loaded=self._runtime.loaded,
                parameter_count=checkpoint.parameter_count,
            ),
            max_audio_bytes=self._settings.max_audio_bytes,
            max_audio_duration=duration(self._settings.max_audio_seconds),
            sample_rate_hertz=checkpoint.config.features.sample_rate,
        )

    async def EncodeAudio(
        self, request: speech_pb2.EncodeAudioRequest, context: Context
    ) -> AsyncIterator[speech_pb2.EncodeAudioResponse]:
        """Encodes one clip: the header first, then the embedding in chunks."""
        encoded = await self._pipeline.encode(request.audio, audio_format(request.format))
        yield speech_pb2.EncodeAudioResponse(header=self._header(encoded))
        for chunk in split(encoded.encoding.embedding):
            yield speech_pb2.EncodeAudioResponse(chunk=chunk)

    async def Transcribe(
        self, request: speech_pb2.TranscribeRequest, context: Context
    ) -> speech_pb2.TranscribeResponse:
        """Writes down one clip."""
        check_language(request.language_code)
        layout = audio_format(request.format)
        phrases = phrase_machine(
            request.phrases, self._runtime.checkpoint.vocabulary, self._settings.phrase_boost
        )
        return transcript_message(await self._pipeline.transcribe(request.audio, layout, phrases))

    async def StreamTranscribe(
        self, request_iterator: AsyncIterator[speech_pb2.StreamTranscribeRequest], context: Context
    ) -> AsyncIterator[speech_pb2.StreamTranscribeResponse]:
        """Writes down speech while it is spoken."""
        async with aclosing(self._streams.transcribe(request_iterator)) as responses:
            async for response in responses:
                yield response

    def _header(self, encoded: Encoded) -> speech_pb2.EncodeAudioHeader:
        encoding, timings = encoded.encoding, encoded.timings
        return speech_pb2.EncodeAudioHeader(
            embedding=tensor_pb2.EmbeddingHeader(
                modality=tensor_pb2.MODALITY_AUDIO,
                media_digest=encoded.digest,
                model_fingerprint=self._runtime.checkpoint.fingerprint,
                token_count=encoding.embedding.shape[0],
                shape=encoding.embedding.shape,
                data_type=data_type_of(encoding.embedding.dtype),
            ),
            cache_hit=encoded.cache_hit,
            timings=speech_pb2.EncodeAudioTimings(
                queue_ms=timings.queue_s * 1e3,
                decode_ms=timings.decode_s * 1e3,
                forward_ms=timings.forward_s * 1e3,
            ),
            transcript=encoding.transcript,
            audio_duration=duration(encoding.seconds),
        )


async def create_service(settings: SpeechSettings) -> Service:
    """The service as the boot function takes it; raises SettingsError when model or device cannot be used."""
    if settings.num_threads:
        torch.set_num_threads(settings.num_threads)
    device = choose_device(settings.device)
    try:
        checkpoint = await asyncio.to_thread(Checkpoint.open, settings.model)
    except CheckpointError as error:
        raise SettingsError(f"speech.model: {error}") from error
    dtype = choose_dtype(settings.dtype, device)
    runtime = Runtime(checkpoint, device, dtype, max_batch=settings.max_batch, beams=settings.beams)
    return build_service(runtime, settings)


def build_service(runtime: Runtime, settings: SpeechSettings) -> Service:
    """The service around a recogniser."""
    pipeline = Pipeline(runtime, settings)
    streams = LiveStreams(pipeline, settings)

    async def close() -> None:
        streams.close()
        await pipeline.close()

    servicer = SpeechServicer(runtime, pipeline, streams, settings)
    return Service(
        name=NAME,
        register=lambda server: speech_pb2_grpc.add_SpeechServiceServicer_to_server(servicer, server),
        warm_up=pipeline.warm_up,
        close=close,
        healthy=pipeline.healthy,
    )
