"""The application, over whatever services it is given."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from gateway import errors
from gateway.audio import routes as audio
from gateway.body import BodyReader
from gateway.clients import Clients
from gateway.keys import ApiKeys
from gateway.middleware import RequestContext
from gateway.openapi import add_definitions
from gateway.realtime import routes as realtime
from gateway.routes import create_router
from gateway.settings import GatewaySettings
from servicekit.keys import KeyRing


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        return add_definitions(super().openapi())

    def build_middleware_stack(self) -> ASGIApp:
        # Outermost, so that the answer to an unforeseen error carries the request id too.
        return RequestContext(super().build_middleware_stack())


def create_app(clients: Clients, settings: GatewaySettings) -> FastAPI:
    """The ASGI app; closes the clients when it ends. SettingsError when the API keys cannot be read."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with clients:
            yield

    app = _App(
        title="AutoGLM Server",
        summary="An OpenAI-compatible surface over vision, speech and language-model services.",
        lifespan=lifespan,
    )
    if settings.api_keys:
        keys = KeyRing(settings.api_keys)
        app.add_middleware(ApiKeys, keys=keys, metrics_open=not settings.metrics_need_key)
    errors.install(app)
    bodies = BodyReader(settings.max_body_bytes, settings.max_total_body_bytes)
    app.include_router(create_router(clients, settings, bodies))
    app.include_router(audio.create_router(clients, settings, bodies))
    app.include_router(realtime.create_router(clients, settings))
    return app
