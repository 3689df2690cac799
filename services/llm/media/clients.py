"""The encoder services, called alike."""

from typing import Any, Protocol

import grpc

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from autoglm.tensor.v1 import tensor_pb2
from autoglm.vision.v1 import vision_pb2, vision_pb2_grpc


class EncoderClient(Protocol):
    """The calls of an encoder service; answers are a header, then chunks."""

    async def model(self, timeout_s: float) -> tensor_pb2.ModelInfo: ...

    def encode(self, data: bytes, timeout_s: float) -> Any: ...


class VisionClient:
    """Calls the VisionService."""

    def __init__(self, channel: grpc.aio.Channel):
        self._stub = vision_pb2_grpc.VisionServiceStub(channel)

    async def model(self, timeout_s: float) -> tensor_pb2.ModelInfo:
        return (await self._stub.GetModel(vision_pb2.GetModelRequest(), timeout=timeout_s)).model

    def encode(self, data: bytes, timeout_s: float) -> Any:
        return self._stub.EncodeImage(vision_pb2.EncodeImageRequest(image=data), timeout=timeout_s)


class SpeechClient:
    """Calls the SpeechService."""

    def __init__(self, channel: grpc.aio.Channel):
        self._stub = speech_pb2_grpc.SpeechServiceStub(channel)

    async def model(self, timeout_s: float) -> tensor_pb2.ModelInfo:
        return (await self._stub.GetModel(speech_pb2.GetModelRequest(), timeout=timeout_s)).model

    def encode(self, data: bytes, timeout_s: float) -> Any:
        return self._stub.EncodeAudio(speech_pb2.EncodeAudioRequest(audio=data), timeout=timeout_s)

    async def transcribe(self, data: bytes, timeout_s: float) -> speech_pb2.TranscribeResponse:
        return await self._stub.Transcribe(speech_pb2.TranscribeRequest(audio=data), timeout=timeout_s)
