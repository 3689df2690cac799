"""A speech service that hears what a test tells it to, over real gRPC.

A live stream is played by a script: at which second of audio which event is sent. What is not due when the
client half-closes is flushed.
"""

import asyncio
import hashlib
import io
import math
import wave
from array import array
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf import duration_pb2

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from autoglm.tensor.v1 import tensor_pb2
from servicekit.server import Service

NAME = "autoglm.speech.v1.SpeechService"
MODEL = "scripted-speech"
MAX_SECONDS = 60
FINGERPRINT = "scripted-speech@0000000000000000"
HIDDEN, TOKENS = 32, 4
Context = grpc.aio.ServicerContext[Any, Any]
Timed = tuple[float, speech_pb2.StreamTranscribeResponse | Exception]


def seconds(value: float) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=int(value), nanos=round(value % 1 * 1e9))


def segment(text: str, start: float, end: float) -> speech_pb2.TranscriptSegment:
    step = (end - start) / max(len(text), 1)
    characters = [
        speech_pb2.TranscriptCharacter(
            text=one,
            start_offset=seconds(start + index * step),
            end_offset=seconds(start + (index + 1) * step),
            confidence=0.9,
        )
        for index, one in enumerate(text)
    ]
    return speech_pb2.TranscriptSegment(
        text=text,
        start_offset=seconds(start),
        end_offset=seconds(end),
        confidence=0.9,
        characters=characters,
    )


def _voice(kind: "speech_pb2.SpeechEventType.ValueType", at: float) -> speech_pb2.StreamTranscribeResponse:
    event = speech_pb2.SpeechEvent(type=kind, offset=seconds(at))
    return speech_pb2.StreamTranscribeResponse(speech_event=event, audio_processed=seconds(at))


def begins(at: float) -> Timed:
    return at, _voice(speech_pb2.SPEECH_EVENT_TYPE_SPEECH_BEGIN, at)


def ends(at: float) -> Timed:
    return at, _voice(speech_pb2.SPEECH_EVENT_TYPE_SPEECH_END, at)


def hears(at: float, text: str, stable: int = 0, index: int = 0) -> Timed:
    result = speech_pb2.StreamTranscribeResult(
        utterance_index=index, text=text, stable_character_count=stable
    )
    return at, speech_pb2.StreamTranscribeResponse(result=result, audio_processed=seconds(at))


def settles(at: float, text: str, start: float, end: float, index: int = 0) -> Timed:
    result = speech_pb2.StreamTranscribeResult(
        utterance_index=index,
        is_final=True,
        text=text,
        stable_character_count=len(text),
        segment=segment(text, start, end),
    )
    return at, speech_pb2.StreamTranscribeResponse(result=result, audio_processed=seconds(at))


TRANSCRIPT = speech_pb2.TranscribeResponse(
    text="你好世界",
    segments=[segment("你好", 0.25, 0.75), segment("世界", 61.0, 3661.5)],
    audio_duration=seconds(3662),
    language_code="zh-CN",
)
TURN: tuple[Timed, ...] = (
    begins(0.2),
    hears(0.4, "这是", stable=1),
    ends(0.8),
    settles(1.0, "这是什么", 0.2, 0.8),
)


class ScriptedSpeech(speech_pb2_grpc.SpeechServiceServicer):
    """Each stream plays the next script, or TURN when none is left."""

    def __init__(self) -> None:
        self.port = self.health_port = 0
        self.refusal: Exception | None = None
        self.encoded: list[bytes] = []
        self.transcribed: list[speech_pb2.TranscribeRequest] = []
        self.configs: list[speech_pb2.StreamTranscribeConfig] = []
        self.streams: list[bytearray] = []
        self.digests: set[bytes] = set()
        self.ended = asyncio.Event()
        self.deaf = False
        self._scripts: list[Sequence[Timed]] = []

    @property
    def service(self) -> Service:
        """As the boot function takes it."""

        def register(server: grpc.aio.Server) -> None:
            speech_pb2_grpc.add_SpeechServiceServicer_to_server(self, server)

        return Service(NAME, register)

    def will(self, *script: Timed) -> None:
        """What the next stream without a script plays."""
        self._scripts.append(script)

    async def GetModel(
        self, request: speech_pb2.GetModelRequest, context: Context
    ) -> speech_pb2.GetModelResponse:
        model = tensor_pb2.ModelInfo(name=MODEL, fingerprint=FINGERPRINT)
        return speech_pb2.GetModelResponse(model=model, max_audio_duration=seconds(MAX_SECONDS))

    async def EncodeAudio(
        self, request: speech_pb2.EncodeAudioRequest, context: Context
    ) -> AsyncIterator[speech_pb2.EncodeAudioResponse]:
        if self.refusal:
            raise self.refusal
        self.encoded.append(request.audio)
        shape = (TOKENS, HIDDEN)
        tensor = tensor_pb2.Tensor(
            data_type=tensor_pb2.DATA_TYPE_FLOAT32,
            shape=shape,
            data=array("f", (math.sin(n) for n in range(TOKENS * HIDDEN))).tobytes(),
        )
        embedding = tensor_pb2.EmbeddingHeader(
            modality=tensor_pb2.MODALITY_AUDIO,
            media_digest=hashlib.sha256(request.audio).digest(),
            model_fingerprint=FINGERPRINT,
            token_count=TOKENS,
            shape=shape,
            data_type=tensor.data_type,
        )
        header = speech_pb2.EncodeAudioHeader(embedding=embedding, transcript=TRANSCRIPT.text)
        yield speech_pb2.EncodeAudioResponse(header=header)
        yield speech_pb2.EncodeAudioResponse(chunk=tensor)

    async def Transcribe(
        self, request: speech_pb2.TranscribeRequest, context: Context
    ) -> speech_pb2.TranscribeResponse:
        self.transcribed.append(request)
        if self.refusal:
            raise self.refusal
        return TRANSCRIPT

    async def StreamTranscribe(
        self, request_iterator: AsyncIterator[speech_pb2.StreamTranscribeRequest], context: Context
    ) -> AsyncIterator[speech_pb2.StreamTranscribeResponse]:
        due = list(self._scripts.pop(0) if self._scripts else TURN)
        samples = bytearray()
        self.streams.append(samples)
        try:
            config = (await anext(aiter(request_iterator))).config
            self.configs.append(config)
            second = 2 * config.format.sample_rate_hertz * config.format.channel_count
            if self.deaf:
                await asyncio.Event().wait()
            async for request in request_iterator:
                samples += request.audio
                while due and due[0][0] <= len(samples) / second:
                    yield self._play(due.pop(0), samples, config)
            for timed in due:
                yield self._play(timed, samples, config)
        finally:
            self.ended.set()

    def _play(
        self, timed: Timed, samples: bytearray, config: speech_pb2.StreamTranscribeConfig
    ) -> speech_pb2.StreamTranscribeResponse:
        event = timed[1]
        if isinstance(event, Exception):
            raise event
        if event.WhichOneof("event") == "result" and event.result.is_final:
            rate = config.format.sample_rate_hertz
            piece = event.result.segment
            first, last = (
                round(offset.ToNanoseconds() * rate / 1e9)
                for offset in (piece.start_offset, piece.end_offset)
            )
            event.result.media_digest = digest_of(bytes(samples[2 * first : 2 * last]), rate)
            self.digests.add(event.result.media_digest)
        return event


def digest_of(samples: bytes, rate: int) -> bytes:
    """Of the samples as a file that the standard library writes."""
    file = io.BytesIO()
    with wave.open(file, "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(2)
        clip.setframerate(rate)
        clip.writeframes(samples)
    return hashlib.sha256(file.getvalue()).digest()
