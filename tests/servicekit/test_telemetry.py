"""Log lines are readable and say who asked; time runs out; spans leave only when they are asked for."""

import contextvars
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from servicekit.telemetry import (
    OTLP_VARIABLE,
    deadline,
    new_request_id,
    remaining_time,
    request_id,
    tracer_provider,
)
from tests.servicekit.logs import logged


def apart(function: Callable[[], Any]) -> Any:
    """What `function` gives in a context of its own, so that nothing it sets outlives it."""
    return contextvars.copy_context().run(function)


def test_there_is_no_remaining_time_without_a_deadline() -> None:
    assert remaining_time() is None


@pytest.mark.parametrize(("ahead_s", "left_s"), [(5.0, 5.0), (-5.0, 0.0)])
def test_remaining_time_runs_down_to_nothing(ahead_s: float, left_s: float) -> None:
    def look() -> float | None:
        deadline.set(time.monotonic() + ahead_s)
        return remaining_time()

    assert apart(look) == pytest.approx(left_s, abs=0.1)


def test_request_ids_differ() -> None:
    assert len({new_request_id() for _ in range(100)}) == 100


@pytest.mark.parametrize("make", [structlog.get_logger, logging.getLogger])
def test_a_line_says_what_happened_and_who_asked(make: Callable[[str], Any]) -> None:
    def speak() -> None:
        request_id.set("r-1")
        make("test").warning("cold here")

    with logged() as lines:
        apart(speak)
    [line] = lines.getvalue().splitlines()
    assert "warning" in line
    assert "cold here" in line
    assert "request_id=r-1" in line


def test_lines_below_the_level_are_left_out() -> None:
    with logged("warning") as lines:
        structlog.get_logger("test").info("a whisper")
        structlog.get_logger("test").error("a shout")
    assert "a whisper" not in lines.getvalue()
    assert "a shout" in lines.getvalue()


def test_a_traceback_shows_no_local_variables() -> None:
    def stumble(said: str) -> None:
        raise ValueError("stumbled")

    words = " ".join(["what", "the", "user", "said"])
    with logged() as lines:
        try:
            stumble(words)
        except ValueError:
            structlog.get_logger("test").exception("a fall")
    assert "stumbled" in lines.getvalue()
    assert "what the user said" not in lines.getvalue()


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Address of a trace collector, and what it has received."""
    received: list[ExportTraceServiceRequest] = []

    def export(request: ExportTraceServiceRequest, _: grpc.ServicerContext) -> ExportTraceServiceResponse:
        received.append(request)
        return ExportTraceServiceResponse()

    method = grpc.unary_unary_rpc_method_handler(
        export, ExportTraceServiceRequest.FromString, ExportTraceServiceResponse.SerializeToString
    )
    name = "opentelemetry.proto.collector.trace.v1.TraceService"
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"Export": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}", received
    server.stop(0).wait()


@pytest.mark.parametrize("told", [True, False])
def test_spans_are_sent_only_where_an_endpoint_is_named(
    monkeypatch: pytest.MonkeyPatch, collector: tuple[str, list[ExportTraceServiceRequest]], told: bool
) -> None:
    endpoint, received = collector
    monkeypatch.setenv(OTLP_VARIABLE, endpoint if told else "")
    provider = tracer_provider("autoglm-test")
    with provider.get_tracer("test").start_as_current_span("a call"):
        pass
    provider.shutdown()
    spans = [span for request in received for span in request.resource_spans[0].scope_spans[0].spans]
    assert [span.name for span in spans] == (["a call"] if told else [])
