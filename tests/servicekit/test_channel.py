"""Who asked, until when, and for which trace goes along, from service to service."""

import pytest

from servicekit.channel import DEFAULT_TIMEOUT_S, open_channel
from servicekit.server import running
from tests.servicekit.echo import CALLS, SETTINGS, Echo, service

TRACE = "0af7651916cd43dd8448eb211c80319c"
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
