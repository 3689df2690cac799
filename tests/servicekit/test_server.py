"""Health is earned, readiness falls first, running calls are let finish, and plaintext stays at home."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from autoglm.speech.v1 import speech_pb2 as pb
from autoglm.speech.v1 import speech_pb2_grpc as pb_grpc
from servicekit import server as server_module
from servicekit.channel import open_channel
from servicekit.checkpoint import CheckpointError
from servicekit.errors import Unavailable
from servicekit.server import LIVENESS, WHOLE_PROCESS, RunningServer, Service, running
from servicekit.settings import ServerSettings, SettingsError
from tests.servicekit.echo import CALLS, NAME, SETTINGS, Echo, service

SERVING = health_pb2.HealthCheckResponse.SERVING
LIVE_MINUTE = 60 * 24_000 * 2  # bytes of 16-bit samples
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(port: int, name: str) -> health_pb2.HealthCheckResponse.ServingStatus.ValueType:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        response = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=2)
        status: health_pb2.HealthCheckResponse.ServingStatus.ValueType = response.status
        return status


async def test_a_service_is_ready_only_after_its_warm_up() -> None:
    warm = asyncio.Event()
    server = RunningServer(service(Echo(), warm_up=warm.wait), SETTINGS)
    starting = asyncio.create_task(server.run_up())
    while not server.health_port:
        await asyncio.sleep(0.01)
    assert await health_of(server.health_port, NAME) == NOT_SERVING
    assert await health_of(server.health_port, WHOLE_PROCESS) == NOT_SERVING
    assert await health_of(server.health_port, LIVENESS) == SERVING
    warm.set()
    await starting
    assert await health_of(server.health_port, NAME) == SERVING
    assert await health_of(server.health_port, WHOLE_PROCESS) == SERVING
    await server.stop(0)


async def test_stopping_lets_a_running_call_finish_while_not_ready_but_alive() -> None:
    echo = Echo()
    server = await RunningServer.start(service(echo), SETTINGS)
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        running_call = asyncio.create_task(CALLS["unary-unary"](channel, b"wait"))
        await echo.started.wait()
        stopping = asyncio.create_task(server.stop(grace=5))
        while await health_of(server.health_port, NAME) == SERVING:
            await asyncio.sleep(0.01)
        assert await health_of(server.health_port, LIVENESS) == SERVING
        echo.release.set()
        assert await running_call
        await stopping


async def test_a_stream_that_is_not_read_waits_at_the_client() -> None:
    echo = Echo()
    async with (
        running(service(echo), SETTINGS) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        call = pb_grpc.SpeechServiceStub(channel).StreamTranscribe()
        await call.write(pb.StreamTranscribeRequest(audio=b"wait"))
        await echo.started.wait()
        sent = 0
        with suppress(TimeoutError):
            while sent < LIVE_MINUTE:
                await asyncio.wait_for(call.write(pb.StreamTranscribeRequest(audio=bytes(12_000))), 0.5)
                sent += 12_000
        assert sent < LIVE_MINUTE / 10
        call.cancel()


async def test_a_call_that_outlasts_the_drain_is_cut_off() -> None:
    echo = Echo()
    server = await RunningServer.start(service(echo), SETTINGS)
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        call = asyncio.create_task(CALLS["unary-unary"](channel, b"wait"))
        await echo.started.wait()
        await server.stop(grace=0.1)
        with pytest.raises(grpc.aio.AioRpcError):
            await call


async def test_a_lame_duck_takes_new_calls_though_it_is_not_ready() -> None:
    settings = ServerSettings(port=0, health_port=0, lame_duck_seconds=0.5)
    server = await RunningServer.start(service(Echo()), settings)
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        stopping = asyncio.create_task(server.stop())
        while await health_of(server.health_port, NAME) == SERVING:
            await asyncio.sleep(0.01)
        assert await CALLS["unary-unary"](channel, b"who")
        await stopping
        with pytest.raises(grpc.aio.AioRpcError):
            await CALLS["unary-unary"](channel, b"who", timeout=0.5)


async def test_the_service_is_closed_after_the_drain() -> None:
    echo, order = Echo(), list[str]()

    async def close() -> None:
        order.append("closed")

    server = await RunningServer.start(service(echo, close=close), SETTINGS)
    async with open_channel(f"127.0.0.1:{server.port}") as channel:
        call = asyncio.create_task(CALLS["unary-unary"](channel, b"wait"))
        call.add_done_callback(lambda _: order.append("answered"))
        await echo.started.wait()
        stopping = asyncio.create_task(server.stop(grace=5))
        echo.release.set()
        await stopping
    assert order == ["answered", "closed"]


async def test_a_failed_warm_up_leaves_nothing_behind() -> None:
    closed = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("no weights")

    async def close() -> None:
        closed.set()

    async with running(service(Echo()), SETTINGS) as free:
        port = free.health_port
    settings = ServerSettings(port=0, health_port=port)
    with pytest.raises(RuntimeError, match="no weights"):
        await RunningServer.start(service(Echo(), warm_up=fail, close=close), settings)
    assert closed.is_set()
    with pytest.raises(grpc.aio.AioRpcError):
        await health_of(port, LIVENESS)


async def test_a_service_that_cannot_tell_how_it_is_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "POLL_SECONDS", 0.01)

    def broken() -> bool:
        raise RuntimeError("who knows")

    async with running(service(Echo(), healthy=broken), SETTINGS) as server, asyncio.timeout(30):
        while await health_of(server.health_port, NAME) == SERVING:
            await asyncio.sleep(0.01)
        assert await health_of(server.health_port, LIVENESS) == SERVING


async def test_readiness_follows_what_the_service_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "POLL_SECONDS", 0.01)
    ill = asyncio.Event()
    async with running(service(Echo(), healthy=lambda: not ill.is_set()), SETTINGS) as server:
        for turn, expected in ((ill.set, NOT_SERVING), (ill.clear, SERVING)):
            turn()
            async with asyncio.timeout(30):
                while await health_of(server.health_port, NAME) != expected:
                    await asyncio.sleep(0.01)


async def test_reflection_lists_the_service() -> None:
    async with (
        running(service(Echo()), SETTINGS) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)

        async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
            yield reflection_pb2.ServerReflectionRequest(list_services="")

        answers = [answer async for answer in stub.ServerReflectionInfo(requests())]
        assert NAME in {listed.name for listed in answers[0].list_services_response.service}


async def test_an_oversize_message_is_refused_and_the_service_goes_on() -> None:
    small = ServerSettings(port=0, health_port=0, max_message_bytes=1 << 20)
    async with running(service(Echo()), small) as server, open_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await CALLS["unary-unary"](channel, bytes(2 << 20))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await CALLS["unary-unary"](channel, b"who")


async def test_a_taken_port_is_named() -> None:
    async with running(service(Echo()), SETTINGS) as server:
        taken = ServerSettings(port=server.port, health_port=0)
        with pytest.raises(SettingsError, match=f":{server.port} cannot be bound"):
            await RunningServer.start(service(Echo()), taken)


@pytest.mark.parametrize(
    "error", [CheckpointError("The weights are no numbers."), Unavailable("X", "Not there.")]
)
async def test_a_warm_up_that_fails_is_told_in_one_line(error: Exception) -> None:
    async def warm_up() -> None:
        raise error

    async def create() -> Service:
        return service(Echo(), warm_up=warm_up)

    with pytest.raises(SettingsError, match=str(error)):
        await server_module._serve(create, SETTINGS)
