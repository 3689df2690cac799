"""Who asked, until when, and what is said of it: request id, deadline, trace, log."""

import contextvars
import logging
import os
import sys
import time
import uuid

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

OTLP_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="")
"""Name of who asked, where names are known."""
deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("deadline", default=None)
"""`time.monotonic` by which the request being served must be answered."""


def new_request_id() -> str:
    return uuid.uuid4().hex


def remaining_time() -> float | None:
    """Seconds the request being served has left; None without a deadline."""
    until = deadline.get()
    return None if until is None else max(0.0, until - time.monotonic())


def tracer() -> trace.Tracer:
    return trace.get_tracer("autoglm")


def configure_logging(level: str = "info") -> None:
    """One line per event on standard error, the standard library's records included."""

    def add_context(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if current := request_id.get():
            event.setdefault("request_id", current)
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        add_context,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Plain: a rich traceback prints local variables, and those are users' content.
                structlog.dev.ConsoleRenderer(
                    colors=sys.stderr.isatty(),
                    pad_event_to=0,
                    exception_formatter=structlog.dev.plain_traceback,
                ),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def configure_tracing(service: str) -> None:
    """Makes spans, and sends them where $OTEL_EXPORTER_OTLP_ENDPOINT says, if it does."""
    trace.set_tracer_provider(tracer_provider(service))


def tracer_provider(service: str) -> TracerProvider:
    """What makes the spans of a service, and sends them if there is somewhere to send them."""
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    if os.environ.get(OTLP_VARIABLE):
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
