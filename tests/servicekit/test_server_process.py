"""A service as a process: it says when it is ready, stops when told, and names what prevents its start."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from servicekit.server import running
from tests.servicekit.echo import SETTINGS, Echo, service

SLOW_START = """
import asyncio
from servicekit.server import Service, serve
from servicekit.settings import ServerSettings

async def warm_up():
    print("warming", flush=True)
    await asyncio.sleep(60)

async def create(settings):
    return Service("autoglm.slow.v1.SlowService", lambda server: None, warm_up=warm_up)

serve("speech", ServerSettings, create)
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("speech: {port: 0, health_port: 0, metrics_port: 0}", encoding="utf-8")
    return path


@asynccontextmanager
async def process(config: Path, *arguments: str, **environ: str) -> AsyncIterator[Process]:
    """A Python process that writes to one pipe, killed if it outlasts the block."""
    environment = {**os.environ, "AUTOGLM_CONFIG": str(config), **environ}
    child = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stdout=PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(90):  # importing torch takes a busy machine long
            yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def rest_of(child: Process) -> str:
    assert child.stdout
    return (await child.stdout.read()).decode()


async def until(child: Process, words: bytes) -> None:
    assert child.stdout
    async for line in child.stdout:
        if words in line:
            return
    pytest.fail(f"ended before it said {words!r}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_told_to_stop_exits_with_0(config: Path, number: signal.Signals) -> None:
    async with process(config, "-m", "services.speech") as child:
        await until(child, b"ready")
        child.send_signal(number)
        rest = await rest_of(child)
        assert await child.wait() == 0
    assert "stopped" in rest
    assert "Traceback" not in rest


async def test_a_process_told_to_stop_before_it_is_ready_exits_with_0(config: Path) -> None:
    async with process(config, "-c", SLOW_START) as child:
        await until(child, b"warming")
        child.send_signal(signal.SIGTERM)
        rest = await rest_of(child)
        assert await child.wait() == 0
    assert "Traceback" not in rest


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"AUTOGLM_SPEECH__PROT": "1"}, "speech.prot (from AUTOGLM_SPEECH__PROT)"),
        ({"AUTOGLM_SPEECH__HOST": "0.0.0.0"}, "insecure: true"),
    ],
)
async def test_what_prevents_the_start_is_said_in_one_line(
    config: Path, environ: dict[str, str], named: str
) -> None:
    async with process(config, "-m", "services.speech", **environ) as child:
        [line] = (await rest_of(child)).splitlines()
        assert await child.wait() == 1
    assert "cannot start" in line
    assert named in line


@pytest.mark.parametrize("key", ["PORT", "HEALTH_PORT", "METRICS_PORT"])
async def test_a_taken_port_is_named_and_ends_the_process(config: Path, key: str) -> None:
    async with running(service(Echo()), SETTINGS) as server:
        environ = {f"AUTOGLM_SPEECH__{key}": str(server.port)}
        async with process(config, "-m", "services.speech", **environ) as child:
            rest = await rest_of(child)
            assert await child.wait() == 1
    assert f":{server.port} cannot be bound" in rest
    assert "Traceback" not in rest
