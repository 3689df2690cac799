"""OpenAI's audio API: transcriptions, whole or while they are heard."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway import sse
from gateway.audio.decoding import Clip
from gateway.audio.deltas import Deltas
from gateway.audio.formats import render
from gateway.audio.options import check_model, hot_words, language_code
from gateway.audio.schemas import TranscriptionForm, parse_form
from gateway.audio.upload import Upload, read_upload
from gateway.body import BodyReader, unless_disconnected
from gateway.clients import Clients
from gateway.errors import ApiError, from_service, unforeseen
from gateway.metrics import STREAMS
from gateway.settings import GatewaySettings
from gateway.speech import Heard, Listening, SpeechModel, Transcript
from servicekit.errors import ServiceError

_PARAMS = {
    "audio": "file",
    "format.sample_rate_hertz": "file",
    "format.channel_count": "file",
    "language_code": "language",
}
_REFUSED = {
    "translations": "Speech is not translated; /v1/audio/transcriptions writes down what is said.",
    "speech": "Speech is heard here, not spoken.",
}

_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}}
                    | TranscriptionForm.model_json_schema()["properties"],
                }
            }
        },
    }
}

log = structlog.get_logger("audio")


def create_router(clients: Clients, settings: GatewaySettings, bodies: BodyReader) -> APIRouter:
    """The audio routes over the given services."""
    router = APIRouter(prefix="/v1/audio")

    @router.post("/transcriptions", summary="Write down what is said", openapi_extra=_UPLOAD)
    async def transcriptions(request: Request) -> Response:
        async with read_upload(request, bodies, settings.max_upload_bytes) as upload:
            form = parse_form(upload.fields)
            model = await _model(form.model)
            if form.stream:
                events = _heard(clients, upload, form, model, settings.request_timeout_s)
                # The first event decides between an HTTP status and a stream.
                first = await unless_disconnected(request, anext(events))
                return sse.EventStream(_stream(first, events))
            return render(await unless_disconnected(request, _transcript(clients, upload, form)), form)

    @router.post("/translations", summary="Not offered")
    async def translations() -> Response:
        raise ApiError(404, "unsupported_endpoint", _REFUSED["translations"])

    @router.post("/speech", summary="Not offered")
    async def speech() -> Response:
        raise ApiError(404, "unsupported_endpoint", _REFUSED["speech"])

    async def _model(name: str) -> SpeechModel:
        try:
            model = await clients.speech.model()
        except ServiceError as error:
            raise from_service(error, None) from error
        check_model(name, (model.name, *settings.model_aliases, *settings.speech_aliases), "model")
        return model

    return router


async def _transcript(clients: Clients, upload: Upload, form: TranscriptionForm) -> Transcript:
    language, phrases = language_code(form.language, "language"), _phrases(form)
    try:
        return await clients.speech.transcribe(upload.audio, language, phrases)
    except ServiceError as error:
        raise _named(error) from error


async def _heard(
    clients: Clients, upload: Upload, form: TranscriptionForm, model: SpeechModel, timeout_s: float
) -> AsyncGenerator[dict[str, Any], None]:
    """OpenAI's events of a transcription; the last one has the whole text."""
    language, phrases = language_code(form.language, "language"), _phrases(form)
    clip = await asyncio.to_thread(Clip, upload.audio, model.max_duration_s)
    listening = Listening(clip.format, language, phrases)
    text, deltas, index = "", Deltas(), 0
    try:
        async with aclosing(clients.speech.listen(listening, clip.pieces(), timeout_s)) as events:
            async for event in events:
                if not isinstance(event, Heard):
                    continue
                if event.index != index:
                    deltas, index = Deltas(), event.index
                if delta := deltas.push(event):
                    yield {"type": "transcript.text.delta", "delta": delta}
                text += event.text if event.segment else ""
    except ServiceError as error:
        raise _named(error) from error
    yield {"type": "transcript.text.done", "text": text}


async def _stream(
    first: dict[str, Any], events: AsyncGenerator[dict[str, Any], None]
) -> AsyncGenerator[bytes, None]:
    """The events and [DONE]; a stream that fails ends with an error object instead."""
    with STREAMS.track_inprogress():
        try:
            yield sse.event(first)
            async for event in events:
                yield sse.event(event)
            yield sse.DONE
        except ApiError as error:
            log.warning("a transcription failed", code=error.code)
            yield sse.event(error.body)
        except Exception:
            log.exception("a transcription failed unforeseen")
            yield sse.event(unforeseen().body)
        finally:
            await events.aclose()


def _phrases(form: TranscriptionForm) -> tuple[str, ...]:
    return hot_words(form.prompt, form.keywords, "prompt")


def _named(error: ServiceError) -> ApiError:
    """A service's error in the words of the form."""
    field = (error.field or "").removeprefix("config.")
    param = "prompt" if field.startswith("phrases") else _PARAMS.get(field)
    return from_service(error, param)
