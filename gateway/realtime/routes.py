"""The WebSocket at /v1/realtime: who may open one, how long it lasts, how it ends."""

import asyncio
from contextlib import suppress

import structlog
from fastapi import APIRouter
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.audio.options import check_model
from gateway.clients import Clients
from gateway.errors import ApiError, from_service, invalid
from gateway.metrics import REALTIME_SESSIONS
from gateway.realtime.config import Configuration
from gateway.realtime.outbox import Outbox, SlowClientError, new_id
from gateway.realtime.session import Session
from gateway.settings import GatewaySettings
from servicekit.errors import ServiceError
from servicekit.telemetry import new_request_id, request_id

SUBPROTOCOL = "realtime"  # what pages ask for: a browser gives up where none of its protocols is chosen
POLICY_VIOLATION = 1008
LAST_WORDS_S = 1.0

log = structlog.get_logger("realtime")


def create_router(clients: Clients, settings: GatewaySettings) -> APIRouter:
    """The realtime route over the given services."""
    router = APIRouter()
    places = asyncio.Semaphore(settings.max_realtime_sessions)

    @router.websocket("/v1/realtime")
    async def realtime(websocket: WebSocket, model: str = "", intent: str = "") -> None:
        request_id.set(new_request_id())
        try:
            configuration = await _configuration(clients, settings, model, intent)
            if places.locked():
                raise ApiError(429, "QUEUE_FULL", "Too many realtime sessions are open.")
        except ApiError as error:
            await websocket.send_denial_response(JSONResponse(error.body, error.status, error.headers))
            return
        async with places:
            with REALTIME_SESSIONS.track_inprogress():
                offered = websocket.scope.get("subprotocols", ())
                await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
                await _serve(websocket, clients, settings, configuration)

    return router


async def _configuration(
    clients: Clients, settings: GatewaySettings, model: str, intent: str
) -> Configuration:
    """Raises ApiError 400, 404, 503 before the connection is taken."""
    if intent not in ("", "transcription"):
        raise invalid("The only intent is transcription.", "intent")
    try:
        heard = (await clients.speech.model()).name
        served = heard if intent else (await clients.llm.model()).name
    except ServiceError as error:
        raise from_service(error, None) from error
    transcription_models = (heard, *settings.model_aliases, *settings.speech_aliases)
    known = (served, *settings.model_aliases, *settings.realtime_aliases)
    check_model(model, (*transcription_models, *known) if intent else known, "model")
    return Configuration(new_id("sess"), intent or "realtime", served, transcription_models)


async def _serve(
    websocket: WebSocket, clients: Clients, settings: GatewaySettings, configuration: Configuration
) -> None:
    outbox = Outbox()
    session = Session(clients, settings, configuration, outbox)
    log.info("a realtime session begins", kind=configuration.current.type)
    sending = asyncio.create_task(outbox.run(websocket))
    receiving = asyncio.create_task(_receive(websocket, session))
    reason = "the client left"
    try:
        async with asyncio.timeout(settings.max_realtime_session_s):
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
        if sending.done() and isinstance(sending.exception(), SlowClientError):
            reason = "the client does not read"
            await _close(websocket, "You do not read what you are sent.")
    except TimeoutError:
        reason = "it lasted long enough"
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        limit = f"A session lasts at most {settings.max_realtime_session_s:g} seconds."
        outbox.error(ApiError(400, "session_expired", limit))
        await _close(websocket, limit, outbox)
    finally:
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
        await session.close()
        log.info("a realtime session ends", why=reason)


async def _receive(websocket: WebSocket, session: Session) -> None:
    with suppress(WebSocketDisconnect):
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            await session.take(message.get("text"))


async def _close(websocket: WebSocket, why: str, outbox: Outbox | None = None) -> None:
    """Says goodbye, to whoever still reads."""
    with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
        async with asyncio.timeout(LAST_WORDS_S):
            if outbox:
                await outbox.flush(websocket)
            await websocket.close(POLICY_VIOLATION, why)
