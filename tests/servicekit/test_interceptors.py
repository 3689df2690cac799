"""Every call ends in a right answer or a named error, and leaves a line that tells nothing private."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from autoglm.speech.v1 import speech_pb2 as pb
from autoglm.speech.v1 import speech_pb2_grpc as pb_grpc
from servicekit.channel import open_channel
from servicekit.errors import from_rpc_error
from servicekit.server import running
from tests.servicekit.echo import CALLS, SETTINGS, Call, Echo, service
from tests.servicekit.logs import logged


@pytest.fixture(params=list(CALLS.values()), ids=list(CALLS))
def call(request: pytest.FixtureRequest) -> Call:
    shape: Call = request.param
    return shape


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def channel(echo: Echo) -> AsyncIterator[grpc.aio.Channel]:
    async with (
        running(service(echo), SETTINGS) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield channel


async def refusal(
    call: Call, channel: grpc.aio.Channel, order: bytes, **options: object
) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(channel, order, **options)
    return refused.value


async def test_a_known_error_arrives_whole(call: Call, channel: grpc.aio.Channel) -> None:
    error = await refusal(call, channel, b"refuse")
    known = from_rpc_error(error)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (known.reason, known.message, known.field, known.retry_after_s) == (
        "NOT_THIS",
        "Anything else.",
        "audio",
        2,
    )


async def test_the_unforeseen_is_internal_and_keeps_its_secret(call: Call, channel: grpc.aio.Channel) -> None:
    error = await refusal(call, channel, b"break")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (error.details() or "")
    assert from_rpc_error(error).reason == "INTERNAL"


async def test_a_status_set_by_hand_stands(call: Call, channel: grpc.aio.Channel) -> None:
    error = await refusal(call, channel, b"abort")
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "said by hand")


async def test_a_code_set_by_hand_stands_and_the_error_keeps_its_secret(
    call: Call, channel: grpc.aio.Channel
) -> None:
    error = await refusal(call, channel, b"break by hand")
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "said by hand")


async def test_a_deadline_ends_the_call_and_its_work(
    call: Call, channel: grpc.aio.Channel, echo: Echo
) -> None:
    error = await refusal(call, channel, b"wait", timeout=0.2)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await echo.cancelled.wait()


async def test_a_client_that_leaves_ends_the_work(channel: grpc.aio.Channel, echo: Echo) -> None:
    stream = pb_grpc.SpeechServiceStub(channel).EncodeAudio(pb.EncodeAudioRequest(audio=b"wait"))
    await stream.read()
    await echo.started.wait()
    stream.cancel()
    await echo.cancelled.wait()


async def test_a_client_that_leaves_while_answers_flow_ends_the_work_quietly(
    channel: grpc.aio.Channel, echo: Echo
) -> None:
    with logged() as lines:
        stream = pb_grpc.SpeechServiceStub(channel).EncodeAudio(pb.EncodeAudioRequest(audio=b"flood"))
        await stream.read()
        stream.cancel()
        await echo.cancelled.wait()
        async with asyncio.timeout(2):
            while "code=" not in lines.getvalue():
                await asyncio.sleep(0.01)
    assert "code=CANCELLED" in lines.getvalue()
    assert "Traceback" not in lines.getvalue()


async def test_work_cancelled_from_inside_does_not_leave_the_caller_waiting(
    call: Call, channel: grpc.aio.Channel
) -> None:
    error = await refusal(call, channel, b"trip", timeout=5)
    assert error.code() is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_that_a_service_cancels_with_a_reason_ends_with_it(
    call: Call, channel: grpc.aio.Channel
) -> None:
    error = await refusal(call, channel, b"give up", timeout=5)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert from_rpc_error(error).reason == "NOBODY_READS"


async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    sing: Any = channel.unary_unary("/autoglm.speech.v1.SpeechService/Sing")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await sing(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_access_log_names_the_call_and_nothing_the_user_said(channel: grpc.aio.Channel) -> None:
    with logged("debug") as log:
        await CALLS["unary-unary"](channel, b"a private thing", metadata=(("x-request-id", "r-1"),))
        await refusal(CALLS["unary-unary"], channel, b"break", metadata=(("x-request-id", "r-2"),))
    lines = log.getvalue()
    assert "Transcribe" in lines
    assert "code=OK" in lines
    assert "request_id=r-1" in lines
    assert "request_id=r-2" in lines
    assert "a secret of this house" in lines  # what broke is told here, and only here
    assert "private" not in lines


@pytest.mark.parametrize(
    ("order", "limit_s", "code"),
    [
        (b"", 5, "OK"),
        (b"refuse", 5, "INVALID_ARGUMENT"),
        (b"break", 5, "INTERNAL"),
        (b"abort", 5, "NOT_FOUND"),
        (b"wait", 0.2, "DEADLINE_EXCEEDED"),
    ],
)
async def test_a_call_is_counted_once_by_method_and_code(
    call: Call, channel: grpc.aio.Channel, order: bytes, limit_s: float, code: str
) -> None:
    before = counted()
    with suppress(grpc.aio.AioRpcError):
        await call(channel, order, timeout=limit_s)
    async with asyncio.timeout(2):  # the caller may know before the call's own task has ended
        while counted() == before:
            await asyncio.sleep(0.01)
    assert counted() - before == Counter([code])


def counted() -> Counter[str]:
    """Calls so far by code, over all methods."""
    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    totals: Counter[str] = Counter()
    for sample in samples:
        if sample.name == "autoglm_rpc_total":
            totals[sample.labels["code"]] += int(sample.value)
    return totals
