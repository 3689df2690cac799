"""The HTTP surface: chat, models, health, metrics."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from autoglm.llm.v1 import llm_pb2
from gateway import chat, sse
from gateway.answer import Answer
from gateway.body import BodyReader, unless_disconnected
from gateway.clients import Clients, Model
from gateway.errors import ApiError, from_service, unforeseen
from gateway.metrics import FIRST_TOKEN_SECONDS, STREAMS, TOKENS
from gateway.openapi import CHAT_BODY
from gateway.schemas import ChatRequest, parse_request
from gateway.settings import GatewaySettings
from servicekit.errors import ServiceError
from servicekit.telemetry import request_id

Events = AsyncGenerator[llm_pb2.GenerateResponse, None]

log = structlog.get_logger("chat")


def create_router(clients: Clients, settings: GatewaySettings, bodies: BodyReader) -> APIRouter:
    """All routes over the given services."""
    router = APIRouter()

    @router.post("/v1/chat/completions", summary="Answer a conversation", openapi_extra=CHAT_BODY)
    async def chat_completions(request: Request) -> Response:
        started = time.monotonic()
        async with bodies.read(request) as body:
            parsed = parse_request(body)
            asked = await asyncio.to_thread(chat.to_generate_request, parsed, settings)
            model = await _model(parsed.model)
            answer = Answer(model.name, request_id.get(), splits_reasoning=parsed.splits_reasoning)
            events = _events(clients, asked, parsed)
            if not parsed.stream:
                return JSONResponse(await unless_disconnected(request, _whole(events, answer, started)))
            # The first event decides between an HTTP status and a stream.
            first = await unless_disconnected(request, anext(events))
        FIRST_TOKEN_SECONDS.observe(time.monotonic() - started)
        options = parsed.stream_options
        stream = _stream(first, events, answer, include_usage=bool(options and options.include_usage))
        return sse.EventStream(stream)

    @router.get("/v1/models", summary="List the served model")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_card(await _served(fresh=True))]}

    @router.get("/v1/models/{name:path}", summary="Describe the served model")
    async def model_by_name(name: str) -> dict[str, Any]:
        return _card(await _model(name)) if name else await models()

    @router.get("/health/live", summary="The gateway runs")
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/health/ready", summary="Answers can be given; names what is degraded")
    async def ready() -> JSONResponse:
        services = await clients.health.ready()
        degraded = [name for name, is_ready in services.items() if not is_ready]
        status = "unavailable" if "llm" in degraded else "degraded" if degraded else "ready"
        body = {"status": status, "degraded": degraded, "services": services}
        return JSONResponse(body, 503 if status == "unavailable" else 200)

    @router.get("/metrics", summary="Prometheus metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def _served(*, fresh: bool = False) -> Model:
        try:
            return await clients.llm.model(fresh=fresh)
        except ServiceError as error:
            raise from_service(error, None) from error

    async def _model(name: str) -> Model:
        model = await _served()
        if name not in ("", model.name, *settings.model_aliases):
            raise ApiError(
                404, "model_not_found", f"The model {name!r} is not served; {model.name} is.", param="model"
            )
        return model

    return router


async def _events(clients: Clients, asked: llm_pb2.GenerateRequest, parsed: ChatRequest) -> Events:
    """The llm's events; its errors in the words of the request."""
    try:
        async with aclosing(clients.llm.generate(asked)) as events:
            async for event in events:
                yield event
    except ServiceError as error:
        raise from_service(error, chat.param_of(error.field, parsed)) from error


async def _whole(events: Events, answer: Answer, started: float) -> dict[str, Any]:
    is_first = True
    async with aclosing(events):
        async for event in events:
            if is_first:
                FIRST_TOKEN_SECONDS.observe(time.monotonic() - started)
            is_first = False
            answer.push(event)
    _count(answer)
    return answer.completion


async def _stream(
    first: llm_pb2.GenerateResponse, events: Events, answer: Answer, *, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Chunks and [DONE]; a stream that fails ends with an error object instead."""
    unused = {"usage": None} if include_usage else {}  # OpenAI's chunks have the key from the first one on
    with STREAMS.track_inprogress():
        try:
            yield sse.event(unused | answer.first_chunk)
            if piece := answer.push(first):
                yield sse.event(unused | answer.chunk(piece))
            async for event in events:
                if piece := answer.push(event):
                    yield sse.event(unused | answer.chunk(piece))
            for chunk in answer.last_chunks(include_usage=include_usage):
                yield sse.event(unused | chunk)
            _count(answer)
            yield sse.DONE
        except ApiError as error:
            log.warning("a stream failed", code=error.code)
            yield sse.event(error.body)
        except Exception:
            log.exception("a stream failed unforeseen")
            yield sse.event(unforeseen().body)
        finally:
            await events.aclose()


def _count(answer: Answer) -> None:
    usage = answer.usage
    TOKENS.labels("prompt").inc(usage["prompt_tokens"])
    TOKENS.labels("completion").inc(usage["completion_tokens"])


def _card(model: Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "autoglm",
        "max_model_len": model.max_context_tokens,
    }
