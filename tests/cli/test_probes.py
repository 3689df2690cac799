"""Readiness probes against real servers."""

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from cli.ports import LOOPBACK, pick_ports
from cli.probes import grpc_serving, http_ok


@pytest.fixture
async def health_target() -> AsyncIterator[str]:
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    await servicer.set("up", health_pb2.HealthCheckResponse.SERVING)
    await servicer.set("down", health_pb2.HealthCheckResponse.NOT_SERVING)
    await server.start()
    yield f"{LOOPBACK}:{port}"
    await server.stop(None)


async def test_only_serving_counts(health_target: str) -> None:
    assert await grpc_serving(health_target, "up")
    assert not await grpc_serving(health_target, "down")
    assert not await grpc_serving(health_target, "unknown")


async def test_nobody_there_is_not_ready() -> None:
    [port] = pick_ports([0])
    assert not await grpc_serving(f"{LOOPBACK}:{port}", "up")
    assert not await http_ok(LOOPBACK, port, "/")


@pytest.mark.parametrize(("status", "ready"), [("200 OK", True), ("503 Service Unavailable", False)])
async def test_only_200_counts(status: str, ready: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, LOOPBACK, 0) as server:
        assert await http_ok(LOOPBACK, server.sockets[0].getsockname()[1], "/health/ready") is ready
