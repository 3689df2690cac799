"""The application, over whatever services it is given."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from gateway import errors
from gateway.clients import Clients
from gateway.middleware import RequestContext
from gateway.routes import create_router
from gateway.settings import GatewaySettings


def create_app(clients: Clients, settings: GatewaySettings) -> FastAPI:
    """The ASGI app; closes the clients when it ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with clients:
            yield

    app = FastAPI(
        title="AutoGLM Server",
        summary="An OpenAI-compatible surface over vision, speech and language-model services.",
        lifespan=lifespan,
    )
    app.add_middleware(RequestContext)
    errors.install(app)
    app.include_router(create_router(clients, settings))
    return app
