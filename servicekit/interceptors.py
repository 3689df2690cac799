"""What happens around every call that a service answers: context, errors, log, metrics."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import structlog
from grpc_status import rpc_status
from opentelemetry import propagate, trace
from prometheus_client import Counter, Gauge, Histogram

from servicekit.channel import REQUEST_ID
from servicekit.errors import Internal, ServiceError, to_status
from servicekit.telemetry import deadline, new_request_id, request_id, tracer

log = structlog.get_logger("access")

CALLS = Counter("autoglm_rpc_total", "Calls answered.", ["method", "code"])
SECONDS = Histogram("autoglm_rpc_seconds", "Time from the first byte of a call to its status.", ["method"])
UNDER_WAY = Gauge("autoglm_rpc_under_way", "Calls being answered.", ["method"])

QUIET = "/grpc."  # health probes and reflection are counted, not logged

Handler = Callable[[Any, Any], Any]


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler once, whatever its shape."""

    def __init__(self, domain: str):
        self._domain = domain

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method: grpc answers UNIMPLEMENTED itself
            return handler
        method = handler_call_details.method
        coders = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.response_streaming:
            inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(self._streaming(inner, method), **coders)
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make(self._single(inner, method), **coders)

    def _single(self, inner: Handler, method: str) -> Handler:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            with _around(method, context):
                try:
                    return await inner(request, context)
                except Exception as error:
                    await self._refuse(error, context)

        return answer

    def _streaming(self, inner: Handler, method: str) -> Handler:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            with _around(method, context):
                try:
                    responses = inner(request, context)
                    try:
                        async for response in responses:
                            yield response
                    finally:
                        # A client that left must reach the handler's own clean-up at once.
                        await responses.aclose()
                except Exception as error:
                    await self._refuse(error, context)

        return answer

    async def _refuse(self, error: Exception, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Ends the call with the status of a known error, or a fixed text; a status already set stands."""
        if isinstance(error, grpc.aio.AbortError) or _code_of(context) is not None:
            raise error
        if not isinstance(error, ServiceError):
            log.exception("a call failed unforeseen")
            error = Internal("INTERNAL", "Something went wrong here; the request id finds it in the log.")
        await context.abort_with_status(rpc_status.to_status(to_status(error, self._domain)))


@contextmanager
def _around(method: str, context: grpc.aio.ServicerContext[Any, Any]) -> Iterator[None]:
    """Sets the context of a call, then counts, times and logs how it ended."""
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    request_id.set(metadata.get(REQUEST_ID) or new_request_id())
    left: Any = context.time_remaining()  # None without a deadline, whatever its stubs say
    deadline.set(None if left is None else time.monotonic() + left)
    started, code = time.monotonic(), grpc.StatusCode.OK
    UNDER_WAY.labels(method).inc()
    try:
        with tracer().start_as_current_span(
            method.removeprefix("/"), context=propagate.extract(metadata), kind=trace.SpanKind.SERVER
        ):
            yield
    except (asyncio.CancelledError, GeneratorExit):
        code = grpc.StatusCode.CANCELLED
        raise
    except BaseException:
        code = _code_of(context) or grpc.StatusCode.UNKNOWN
        raise
    finally:
        seconds = time.monotonic() - started
        UNDER_WAY.labels(method).dec()
        CALLS.labels(method, code.name).inc()
        SECONDS.labels(method).observe(seconds)
        if not method.startswith(QUIET):
            log.info(method.rpartition("/")[2], code=code.name, ms=round(seconds * 1e3, 1))


def _code_of(context: grpc.aio.ServicerContext[Any, Any]) -> grpc.StatusCode | None:
    """The code a handler has set; grpc keeps a bare number where it came with a status."""
    code: int | grpc.StatusCode = context.code()
    return next((known for known in _FAILURES if code in (known, known.value[0])), None)


_FAILURES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
