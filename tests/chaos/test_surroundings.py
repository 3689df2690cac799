"""The world around the processes turns bad: garbage on every port, a full disk, no more file handles."""

import asyncio
import os
import random
import resource
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from benchmarks.server import AUTOGLM, Server
from cli.ports import LOOPBACK, pick_ports
from cli.probes import http_ok
from tests.chaos.mix import Mix, Tally
from tests.chaos.replicas import Replica, started

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and prlimit are Linux's"),
]

Keep = Callable[[Tally], Tally]

FULL = Path("/dev/full")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS_FRAME = bytes(3) + b"\x04" + bytes(5)
NOISE = random.Random(9).randbytes(4096)
GARBAGE = {
    "noise": NOISE,
    "HTTP/1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad HTTP/1": b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: -7\r\n\r\n",
    "TLS": bytes.fromhex("16030100ff010000fb0303") + NOISE[:244],
    "preface, then noise": PREFACE + NOISE,
    "a frame longer than allowed": PREFACE + SETTINGS_FRAME + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "half a preface": PREFACE[:10],
    "nothing": b"",
}
ROUNDS = 5
SPARE_HANDLES = 4
HOGS = 64
HOGGED_S = 4.0


async def throw(port: int, garbage: bytes) -> None:
    """Sends it, reads what comes back for a moment, and hangs up."""
    with suppress(OSError, TimeoutError):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            writer.write(garbage)
            async with asyncio.timeout(0.5):
                await writer.drain()
                await reader.read()
        finally:
            writer.close()


def all_ports(server: Server) -> list[int]:
    gateway = int(server.url.rpartition(":")[2])
    return [gateway, *(port for ports in server.ports.values() for port in ports.values())]


async def test_garbage_on_every_port_harms_nobody(server: Server, mix: Mix, keep: Keep) -> None:
    pids = server.pids

    async def throw_garbage() -> None:
        for _ in range(ROUNDS):
            await asyncio.gather(
                *(throw(port, garbage) for port in all_ports(server) for garbage in GARBAGE.values())
            )

    tally = keep(await mix.endure("garbage on every port", throw_garbage))
    assert tally.right == tally.requests
    assert server.pids == pids


@pytest.mark.parametrize("name", ["vision", "llm", "gateway"])
async def test_without_file_handles_nobody_waits_in_vain(
    name: str, server: Server, mix: Mix, keep: Keep
) -> None:
    pids = server.pids
    port = int(server.url.rpartition(":")[2]) if name == "gateway" else server.ports[name]["port"]

    async def use_up_the_handles() -> None:
        pid = pids[name]
        open_now = len(os.listdir(f"/proc/{pid}/fd"))
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + SPARE_HANDLES, hard))
        hogs = [socket.create_connection((LOOPBACK, port)) for _ in range(HOGS)]
        try:
            await asyncio.sleep(HOGGED_S)
        finally:
            for hog in hogs:
                hog.close()
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))

    tally = keep(await mix.endure(f"no file handles left in {name}", use_up_the_handles))
    assert not tally.lost
    assert server.pids == pids


@pytest.fixture
async def unlogged(bundle: Path) -> AsyncIterator[Mix]:
    """Processes whose log goes to a full disk."""
    vision = Replica("vision", {"model": bundle, "cache_bytes": 0}, log=FULL)
    settings = {"model": bundle, "vision_target": vision.address, "embedding_cache_bytes": 0}
    llm = Replica("llm", settings, log=FULL)
    targets = {"llm_target": llm.address, "llm_health_target": llm.health, "speech_health_target": ""}
    gateway = Replica("gateway", {**targets, "vision_health_target": vision.health}, log=FULL)
    async with started(vision, llm, gateway), Mix(f"http://{gateway.address}") as mix:
        yield mix


async def test_a_full_disk_costs_the_log_and_nothing_else(unlogged: Mix, keep: Keep) -> None:
    tally = keep(await unlogged.endure("the disk of every log is full", lambda: asyncio.sleep(0)))
    assert tally.right == tally.requests


@pytest.fixture
def full_disk() -> Iterator[IO[bytes]]:
    with FULL.open("wb") as file:
        yield file


async def test_a_full_disk_does_not_stop_the_supervisor(
    bundle: Path, full_disk: IO[bytes], keep: Keep
) -> None:
    [port] = pick_ports([0])
    command = (AUTOGLM, "serve", "--port", str(port), "--model", str(bundle))
    supervisor = await asyncio.create_subprocess_exec(*command, stdout=full_disk, stderr=full_disk)
    try:
        async with asyncio.timeout(60):
            while not await http_ok(LOOPBACK, port, "/health/ready"):
                await asyncio.sleep(0.1)
        async with Mix(f"http://{LOOPBACK}:{port}") as mix:
            tally = keep(await mix.endure("the supervisor's disk is full", lambda: asyncio.sleep(0)))
        assert tally.right == tally.requests
    finally:
        if supervisor.returncode is None:
            supervisor.terminate()
        await supervisor.wait()
