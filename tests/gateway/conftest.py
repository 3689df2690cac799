"""A gateway on a real socket over a scripted llm service."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gateway.server import Server
from gateway.settings import GatewaySettings
from servicekit.server import running
from servicekit.settings import ServerSettings
from tests.gateway.scripted_llm import ScriptedLLM
from tests.gateway.scripted_speech import ScriptedSpeech

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "你好"}]}


@dataclass(frozen=True)
class Gateway:
    """A running gateway, and a client that talks to it."""

    server: Server
    http: httpx.AsyncClient

    async def ask(self, **body: Any) -> httpx.Response:
        return await self.http.post(CHAT, json=HELLO | body)

    def stream(self, **body: Any) -> AbstractAsyncContextManager[httpx.Response]:
        return self.http.stream("POST", CHAT, json=HELLO | {"stream": True} | body)

    async def events(self, **body: Any) -> list[dict[str, Any] | str]:
        """What a stream sends: objects, and the final [DONE] as a string."""
        async with self.stream(**body) as response:
            assert response.status_code == 200
            lines = [line async for line in response.aiter_lines() if line]
        return [event if event == "[DONE]" else json.loads(event) for event in map(_data, lines)]


StartGateway = Callable[..., AbstractAsyncContextManager[Gateway]]


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[Server]:
    """What `serve` does, but for its signals and for a wait at the end."""
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    ticking = asyncio.create_task(server.main_loop())
    yield server
    ticking.cancel()
    await server.shutdown()
    for connection in list(server.server_state.connections):  # those that outlasted the drain
        connection.transport.close()
    await asyncio.sleep(0)


@pytest.fixture
async def llm() -> AsyncIterator[ScriptedLLM]:
    llm = ScriptedLLM()
    async with running(llm.service, ServerSettings(port=0, health_port=0)) as server:
        llm.port, llm.health_port = server.port, server.health_port
        yield llm


@pytest.fixture
async def speech() -> AsyncIterator[ScriptedSpeech]:
    speech = ScriptedSpeech()
    async with running(speech.service, ServerSettings(port=0, health_port=0)) as server:
        speech.port, speech.health_port = server.port, server.health_port
        yield speech


@pytest.fixture
async def hearing_gateway(speech: ScriptedSpeech, start_gateway: StartGateway) -> AsyncIterator[Gateway]:
    """A gateway beside a speech service."""
    async with start_gateway(speech_target=f"127.0.0.1:{speech.port}") as gateway:
        yield gateway


@pytest.fixture
def start_gateway(llm: ScriptedLLM) -> StartGateway:
    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Gateway]:
        defaults = {
            "port": 0,
            "llm_target": f"127.0.0.1:{llm.port}",
            "speech_target": "127.0.0.1:1",
            "llm_health_target": f"127.0.0.1:{llm.health_port}",
            "vision_health_target": "",
            "speech_health_target": "",
            "drain_seconds": 1,
        }
        async with (
            listening(Server(GatewaySettings(**{**defaults, **settings}))) as server,
            httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=10) as http,
        ):
            yield Gateway(server, http)

    return start


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> AsyncIterator[Gateway]:
    async with start_gateway() as gateway:
        yield gateway


def _data(line: str) -> str:
    assert line.startswith("data: ")
    return line.removeprefix("data: ")
