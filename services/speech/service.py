"""The SpeechService of the contract, before there is a speech model: each call is refused by name.

Callers can tell "not yet" from "down": the process answers, and says why it cannot help.
"""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from servicekit.errors import Unimplemented
from servicekit.server import Service
from services.speech.settings import SpeechSettings

NAME = speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].full_name
Context = grpc.aio.ServicerContext[Any, Any]


def _not_available() -> Unimplemented:
    return Unimplemented("SPEECH_NOT_AVAILABLE", "The bundle holds no speech model, so speech is not served.")


class SpeechServicer(speech_pb2_grpc.SpeechServiceServicer):
    """Refuses each RPC in its own shape."""

    async def GetModel(
        self, request: speech_pb2.GetModelRequest, context: Context
    ) -> speech_pb2.GetModelResponse:
        raise _not_available()

    async def EncodeAudio(
        self, request: speech_pb2.EncodeAudioRequest, context: Context
    ) -> AsyncIterator[speech_pb2.EncodeAudioResponse]:
        raise _not_available()
        yield  # makes this a stream, as the contract wants

    async def Transcribe(
        self, request: speech_pb2.TranscribeRequest, context: Context
    ) -> speech_pb2.TranscribeResponse:
        raise _not_available()

    async def StreamTranscribe(
        self, request_iterator: AsyncIterator[speech_pb2.StreamTranscribeRequest], context: Context
    ) -> AsyncIterator[speech_pb2.StreamTranscribeResponse]:
        raise _not_available()
        yield  # makes this a stream, as the contract wants


async def create_service(settings: SpeechSettings) -> Service:
    """The service as the boot function takes it."""
    servicer = SpeechServicer()
    return Service(
        name=NAME,
        register=lambda server: speech_pb2_grpc.add_SpeechServiceServicer_to_server(servicer, server),
    )
