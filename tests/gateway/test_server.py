"""The server: where it can be reached, how it drains, how its process ends."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from gateway.server import Server
from gateway.settings import GatewaySettings
from servicekit.settings import SettingsError
from tests.gateway.conftest import CHAT, HELLO, StartGateway
from tests.gateway.scripted_llm import PAUSE, ScriptedLLM, finish, said

RUNNING_AT = "FastAPI server running at "


@asynccontextmanager
async def process(llm: ScriptedLLM, **settings: object) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """`python -m gateway`, killed if it outlasts the block, and a client of it."""
    named = {"port": 0, "llm_target": f"127.0.0.1:{llm.port}", **settings}
    environ = {f"AUTOGLM_GATEWAY__{key.upper()}": str(value) for key, value in named.items()}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=os.environ | environ, stdout=PIPE, stderr=STDOUT
    )
    assert child.stdout
    try:
        async with asyncio.timeout(20):
            line = ""
            while RUNNING_AT not in line:
                line = (await child.stdout.readline()).decode()
            url = line.split(RUNNING_AT)[1].split()[0]
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http:
                yield child, http
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def rest_of(child: Process) -> str:
    assert child.stdout
    return (await child.stdout.read()).decode()


async def test_a_running_stream_ends_before_the_process_and_that_exits_0(llm: ScriptedLLM) -> None:
    llm.will(said("红"), PAUSE, said("苹果"), finish())
    async with process(llm) as (child, http):
        async with http.stream("POST", CHAT, json=HELLO | {"stream": True}) as response:
            lines = response.aiter_lines()
            await anext(lines)
            await llm.waiting.wait()
            child.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            with pytest.raises(httpx.ConnectError):
                await http.get("/health/live")
            llm.release.set()
            assert "data: [DONE]" in [line async for line in lines]
        assert await child.wait() == 0
        log = await rest_of(child)
        assert "OpenAI-compatible API available at /v1/chat/completions" in log
        assert "Traceback" not in log


async def test_a_second_signal_does_not_wait(llm: ScriptedLLM) -> None:
    llm.will(PAUSE)
    async with process(llm, drain_seconds=60) as (child, http):
        asking = asyncio.create_task(http.post(CHAT, json=HELLO))
        await llm.waiting.wait()
        child.send_signal(signal.SIGINT)
        await asyncio.sleep(0.3)
        child.send_signal(signal.SIGINT)
        assert await child.wait() == 0
        assert (await asking).is_server_error


async def test_what_outlasts_the_drain_is_cut_off(llm: ScriptedLLM, start_gateway: StartGateway) -> None:
    llm.will(said("红"), PAUSE)
    async with start_gateway(drain_seconds=0) as gateway, gateway.stream() as response:
        await llm.waiting.wait()
        stopping = asyncio.create_task(gateway.server.shutdown())
        with pytest.raises(httpx.RemoteProtocolError):
            await response.aread()
        await llm.cancelled.wait()
        await stopping


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port} cannot be bound; is the port taken?"):
            await Server(GatewaySettings(port=port)).serve()
