"""Every call ends in a right answer or a named error, and leaves a line that tells nothing private."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from autoglm.speech.v1 import speech_pb2 as pb
from autoglm.speech.v1 import speech_pb2_grpc as pb_grpc
from servicekit.channel import open_channel
from servicekit.errors import from_rpc_error
from servicekit.server import running
from servicekit.telemetry import configure_logging
from tests.servicekit.echo import CALLS, SETTINGS, Call, Echo, service


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


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> pb_grpc.SpeechServiceAsyncStub:
    return pb_grpc.SpeechServiceStub(channel)


async def refusal(
    call: Call, stub: pb_grpc.SpeechServiceAsyncStub, order: bytes, **options: object
) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(stub, order, **options)
    return refused.value


async def test_a_known_error_arrives_whole(call: Call, stub: pb_grpc.SpeechServiceAsyncStub) -> None:
    error = await refusal(call, stub, b"refuse")
    known = from_rpc_error(error)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (known.reason, known.message, known.field, known.retry_after_s) == (
        "NOT_THIS",
        "Anything else.",
        "audio",
        2,
    )


async def test_the_unforeseen_is_internal_and_keeps_its_secret(
    call: Call, stub: pb_grpc.SpeechServiceAsyncStub
) -> None:
    error = await refusal(call, stub, b"break")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (error.details() or "")
    assert from_rpc_error(error).reason == "INTERNAL"


async def test_a_status_set_by_hand_stands(call: Call, stub: pb_grpc.SpeechServiceAsyncStub) -> None:
    error = await refusal(call, stub, b"abort")
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "said by hand")


async def test_a_deadline_ends_the_call_and_its_work(
    call: Call, stub: pb_grpc.SpeechServiceAsyncStub, echo: Echo
) -> None:
    error = await refusal(call, stub, b"wait", timeout=0.2)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await echo.cancelled.wait()


async def test_a_client_that_leaves_ends_the_work(stub: pb_grpc.SpeechServiceAsyncStub, echo: Echo) -> None:
    stream = stub.EncodeAudio(pb.EncodeAudioRequest(audio=b"wait"))
    await stream.read()
    await echo.started.wait()
    stream.cancel()
    await echo.cancelled.wait()


async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    sing: Any = channel.unary_unary("/autoglm.speech.v1.SpeechService/Sing")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await sing(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_access_log_names_the_call_and_nothing_the_user_said(
    stub: pb_grpc.SpeechServiceAsyncStub, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = logging.getLogger().handlers[:]
    configure_logging()
    try:
        await CALLS["unary-unary"](stub, b"a private thing", metadata=(("x-request-id", "r-1"),))
        await refusal(CALLS["unary-unary"], stub, b"break", metadata=(("x-request-id", "r-2"),))
    finally:
        logging.getLogger().handlers[:] = handlers
    lines = capfd.readouterr().err
    assert "Transcribe" in lines
    assert "code=OK" in lines
    assert "request_id=r-1" in lines
    assert "request_id=r-2" in lines
    assert "a secret of this house" in lines  # what broke is told here, and only here
    assert "private" not in lines


async def test_calls_are_counted_by_method_and_code(call: Call, stub: pb_grpc.SpeechServiceAsyncStub) -> None:
    def total(code: str) -> float:
        methods = ("Transcribe", "EncodeAudio", "StreamTranscribe")
        labels = [{"method": f"/autoglm.speech.v1.SpeechService/{m}", "code": code} for m in methods]
        return sum(REGISTRY.get_sample_value("autoglm_rpc_total", label) or 0 for label in labels)

    before = total("OK"), total("INVALID_ARGUMENT")
    await call(stub, b"")
    await refusal(call, stub, b"refuse")
    assert (total("OK"), total("INVALID_ARGUMENT")) == (before[0] + 1, before[1] + 1)
