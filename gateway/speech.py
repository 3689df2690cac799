"""The speech service as the gateway sees it, in words of its own: what was heard, when, how surely."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc
from google.protobuf import duration_pb2

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from servicekit.breaker import Breaker
from servicekit.call_status import CallStatus
from servicekit.errors import ServiceError, Unavailable, Unimplemented, from_rpc_error

MODEL_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Character:
    """One written character; times in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Segment:
    """A stretch of speech between two pauses; confidence between 0 and 1."""

    text: str
    start_s: float
    end_s: float
    confidence: float = 1.0
    characters: tuple[Character, ...] = ()


@dataclass(frozen=True)
class Transcript:
    """What was said in a clip."""

    text: str
    language: str
    duration_s: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class SpeechModel:
    """What the speech service holds."""

    name: str
    max_duration_s: float


@dataclass(frozen=True)
class PCM:
    """Headerless 16-bit little-endian samples."""

    rate: int
    channels: int = 1


@dataclass(frozen=True)
class Listening:
    """How to listen to a stream; unset `endpoint_silence_s` leaves it to the service."""

    format: PCM
    language: str = ""
    phrases: Sequence[str] = ()
    endpoint_silence_s: float | None = None


class Boundary(Enum):
    """Where speech begins or ends."""

    BEGIN = speech_pb2.SPEECH_EVENT_TYPE_SPEECH_BEGIN
    END = speech_pb2.SPEECH_EVENT_TYPE_SPEECH_END


@dataclass(frozen=True)
class Voice:
    """Speech begins or ends, at a place in the stream."""

    boundary: Boundary
    at_s: float


@dataclass(frozen=True)
class Heard:
    """An utterance so far. `stable` will not be taken back; `segment` comes with the final word."""

    index: int
    text: str
    stable: str
    segment: Segment | None = None


Event = Voice | Heard


class SpeechClient:
    """Asks the speech service; without a channel there is none, and every call is refused by name."""

    def __init__(self, channel: grpc.aio.Channel | None, timeout_s: float):
        self._made = speech_pb2_grpc.SpeechServiceStub(channel) if channel else None
        self._timeout_s = timeout_s
        self._breaker = Breaker("speech")

    async def model(self) -> SpeechModel:
        """Raises ServiceError."""
        answer = await self._ask("GetModel", speech_pb2.GetModelRequest(), MODEL_TIMEOUT_S)
        return SpeechModel(answer.model.name, _seconds(answer.max_audio_duration))

    async def transcribe(self, audio: bytes, language: str, phrases: Sequence[str]) -> Transcript:
        """What is said in a file. Raises ServiceError."""
        request = speech_pb2.TranscribeRequest(audio=audio, language_code=language, phrases=_phrases(phrases))
        answer = await self._ask("Transcribe", request, self._timeout_s)
        return Transcript(
            answer.text,
            answer.language_code or language,
            _seconds(answer.audio_duration),
            tuple(map(_segment, answer.segments)),
        )

    async def listen(
        self, listening: Listening, audio: AsyncIterator[bytes], timeout_s: float
    ) -> AsyncGenerator[Event, None]:
        """What is heard while `audio` runs, and after its end; closing it early cancels the call.

        Raises ServiceError, and whatever ends `audio` early.
        """
        failure: Exception | None = None

        async def requests() -> AsyncIterator[speech_pb2.StreamTranscribeRequest]:
            nonlocal failure
            yield speech_pb2.StreamTranscribeRequest(config=_config(listening))
            try:
                async for samples in audio:
                    yield speech_pb2.StreamTranscribeRequest(audio=samples)
            except Exception as error:  # grpc would only cancel the call, and nobody would hear why
                failure = error

        with self._breaker.guard() as answered:
            call = self._stub.StreamTranscribe(requests(), timeout=timeout_s)
            status = CallStatus(call)
            try:
                async for response in call:
                    answered()
                    if event := _event(response):
                        yield event
            except grpc.aio.AioRpcError as error:
                raise failure or self._named(await status.told(error)) from error
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise self._breaker.unavailable() from error  # the call was cancelled, and not by us
            finally:
                call.cancel()
        if failure:
            raise failure

    async def _ask(self, method: str, request: Any, timeout_s: float) -> Any:
        with self._breaker.guard():
            try:
                return await getattr(self._stub, method)(request, timeout=timeout_s)
            except grpc.aio.AioRpcError as error:
                raise self._named(error) from error

    @property
    def _stub(self) -> Any:
        if self._made is None:
            raise Unimplemented("SPEECH_NOT_AVAILABLE", "Speech is not served here.")
        return self._made

    def _named(self, error: grpc.aio.AioRpcError) -> ServiceError:
        """The service's error; where it did not get to say anything, the service is named."""
        known = from_rpc_error(error)
        if isinstance(known, Unavailable) and known.reason == "UNAVAILABLE":
            return self._breaker.unavailable()
        return known


def _config(listening: Listening) -> speech_pb2.StreamTranscribeConfig:
    config = speech_pb2.StreamTranscribeConfig(
        format=speech_pb2.AudioFormat(
            encoding=speech_pb2.AUDIO_ENCODING_PCM_S16LE,
            sample_rate_hertz=listening.format.rate,
            channel_count=listening.format.channels,
        ),
        language_code=listening.language,
        phrases=_phrases(listening.phrases),
        interim_results=True,
    )
    if listening.endpoint_silence_s is not None:
        config.endpoint_silence.FromNanoseconds(round(listening.endpoint_silence_s * 1e9))
    return config


def _event(response: speech_pb2.StreamTranscribeResponse) -> Event | None:
    kind = response.WhichOneof("event")
    if kind == "speech_event":
        return Voice(Boundary(response.speech_event.type), _seconds(response.speech_event.offset))
    if kind == "result":
        result = response.result
        segment = _segment(result.segment) if result.is_final else None
        return Heard(
            result.utterance_index, result.text, result.text[: result.stable_character_count], segment
        )
    return None


def _segment(segment: speech_pb2.TranscriptSegment) -> Segment:
    characters = tuple(
        Character(one.text, _seconds(one.start_offset), _seconds(one.end_offset))
        for one in segment.characters
    )
    start_s, end_s = _seconds(segment.start_offset), _seconds(segment.end_offset)
    return Segment(segment.text, start_s, end_s, segment.confidence, characters)


def _phrases(phrases: Sequence[str]) -> list[speech_pb2.Phrase]:
    return [speech_pb2.Phrase(text=phrase) for phrase in phrases]


def _seconds(duration: duration_pb2.Duration) -> float:
    return float(duration.ToNanoseconds() / 1e9)
