"""Who asked, until when, and for which trace goes along, from service to service."""

import asyncio
import time

import grpc
import pytest

from servicekit.channel import DEFAULT_TIMEOUT_S, open_channel
from servicekit.server import RunningServer, running
from servicekit.settings import ServerSettings
from servicekit.telemetry import deadline
from tests.servicekit.echo import CALLS, SETTINGS, Echo, service
from tests.servicekit.relay import Relay

TRACE = "0af7651916cd43dd8448eb211c80319c"
SILENCE_S = 12.0
METADATA = (("x-request-id", "r-1"), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"))


async def test_request_id_trace_and_deadline_reach_the_second_service() -> None:
    async with (
        running(service(Echo()), SETTINGS) as second,
        open_channel(f"127.0.0.1:{second.port}") as inner,
    ):
        echo = Echo(downstream=inner)
        async with (
            running(service(echo), SETTINGS) as first,
            open_channel(f"127.0.0.1:{first.port}") as outer,
        ):
            for call in CALLS.values():
                answer = await call(outer, b"pass on", timeout=7, metadata=METADATA)
                heard, seconds, traceparent = answer.split(" ")
                assert heard == "r-1"
                assert float(seconds) == pytest.approx(7, abs=1)
                assert traceparent.split("-")[1] == TRACE


async def test_a_call_without_timeout_still_has_a_deadline() -> None:
    async with (
        running(service(Echo()), SETTINGS) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        for call in CALLS.values():
            _, seconds, _ = (await call(channel, b"who")).split(" ")
            assert float(seconds) == pytest.approx(DEFAULT_TIMEOUT_S, abs=1)


async def test_a_request_without_an_id_gets_one() -> None:
    async with (
        running(service(Echo()), SETTINGS) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        heard, _, _ = (await CALLS["unary-unary"](channel, b"who")).split(" ")
        assert len(heard) == 32


async def test_a_longer_timeout_is_cut_to_the_time_that_the_request_has_left() -> None:
    async with (
        running(service(Echo()), SETTINGS) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        token = deadline.set(time.monotonic() + 3)
        try:
            _, seconds, _ = (await CALLS["unary-unary"](channel, b"who", timeout=60)).split(" ")
        finally:
            deadline.reset(token)
        assert float(seconds) == pytest.approx(3, abs=1)


async def test_a_caller_that_leaves_ends_the_work_of_the_second_service() -> None:
    last = Echo()
    async with (
        running(service(last), SETTINGS) as second,
        open_channel(f"127.0.0.1:{second.port}") as inner,
        running(service(Echo(downstream=inner)), SETTINGS) as first,
        open_channel(f"127.0.0.1:{first.port}") as outer,
        asyncio.timeout(5),
    ):
        for call in CALLS.values():
            last.started.clear()
            last.cancelled.clear()
            task = asyncio.create_task(call(outer, b"pass the wait on"))
            await last.started.wait()
            task.cancel()
            await last.cancelled.wait()


async def test_a_service_that_comes_back_is_found_again() -> None:
    first = await RunningServer.start(service(Echo()), SETTINGS)
    async with open_channel(f"127.0.0.1:{first.port}") as channel:
        assert await CALLS["unary-unary"](channel, b"who")
        await first.stop(0)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await CALLS["unary-unary"](channel, b"who")
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        async with running(service(Echo()), ServerSettings(port=first.port, health_port=0)):
            assert await CALLS["unary-unary"](channel, b"who", wait_for_ready=True, timeout=5)


async def test_a_peer_that_falls_silent_is_given_up_on_long_before_the_deadline() -> None:
    """A frozen process keeps its connections: only the pings that it does not answer give it away."""
    async with (
        running(service(Echo()), SETTINGS) as server,
        Relay(server.port) as relay,
        open_channel(f"127.0.0.1:{relay.port}") as channel,
    ):
        assert await CALLS["unary-unary"](channel, b"who")
        relay.freeze()
        started = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await CALLS["unary-unary"](channel, b"who", timeout=60)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert time.monotonic() - started < SILENCE_S
