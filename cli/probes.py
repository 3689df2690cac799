"""Asks a process whether it is ready."""

import asyncio
import http.client
import ssl

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 1.0


async def grpc_serving(target: str, service: str) -> bool:
    """Whether grpc.health.v1 at `target` reports the service as SERVING."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            response = await stub.Check(request, timeout=TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


async def http_ok(host: str, port: int, path: str, *, encrypted: bool = False) -> bool:
    """Whether a GET answers 200."""
    return await asyncio.to_thread(_get_ok, host, port, path, encrypted)


def _get_ok(host: str, port: int, path: str, encrypted: bool) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    if encrypted:  # asks whether our own process answers; whose certificate that is does not matter
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
