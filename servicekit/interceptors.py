"""What happens around every call that a service answers: context, errors, log, metrics."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

import grpc
import structlog
from grpc_status import rpc_status
from opentelemetry import propagate, trace
from prometheus_client import Counter, Gauge, Histogram

from servicekit.callers import Callers
from servicekit.channel import REQUEST_ID
from servicekit.errors import Internal, ServiceError, to_status
from servicekit.settings import CallerSettings
from servicekit.telemetry import caller, deadline, new_request_id, remaining_time, request_id, tracer

log = structlog.get_logger("access")

CALLS = Counter("autoglm_rpc_total", "Calls answered.", ["method", "code"])
SECONDS = Histogram("autoglm_rpc_seconds", "Time from the first byte of a call to its status.", ["method"])
UNDER_WAY = Gauge("autoglm_rpc_under_way", "Calls being answered.", ["method"])

CLOCK_SLACK_S = 0.1  # a caller's clock started earlier: it hangs up before the deadline passes here
FAREWELL_S = 30.0
QUIET = "/grpc."  # health probes and reflection are counted, not logged

Handler = Callable[[Any, Any], Any]
Context = grpc.aio.ServicerContext[Any, Any]


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler once, whatever its shape. Handlers that stream are async generators."""

    def __init__(self, domain: str, callers: CallerSettings):
        """Raises SettingsError when the tokens cannot be read."""
        self._domain, self._callers = domain, Callers(callers)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method: grpc answers UNIMPLEMENTED itself
            return handler
        shape, make = _SHAPES[handler.request_streaming, handler.response_streaming]
        wrap = self._streaming if handler.response_streaming else self._single
        return make(
            wrap(getattr(handler, shape), handler_call_details.method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _single(self, inner: Handler, method: str) -> Handler:
        async def answer(request: Any, context: Context) -> Any:
            async with self._around(method, context):
                return await inner(request, context)

        return answer

    def _streaming(self, inner: Handler, method: str) -> Handler:
        async def answer(request: Any, context: Context) -> None:
            # Written here, not yielded: a client that leaves must reach the handler's clean-up at once.
            async with self._around(method, context), aclosing(inner(request, context)) as responses:
                async for response in responses:
                    await context.write(response)

        return answer

    @asynccontextmanager
    async def _around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Context before a call; status, metrics and a line in the log after it."""
        with _observed(method, context):
            try:
                caller.set(self._callers.identify(context))
                yield
            except grpc.aio.InternalError as error:  # grpc's word for a write after the client left
                raise asyncio.CancelledError from error
            except (Exception, asyncio.CancelledError) as error:
                await self._refuse(error, context)

    async def _refuse(self, error: Exception | asyncio.CancelledError, context: Context) -> None:
        """Ends the call with the status of a known error, or a fixed text; a status already set stands."""
        if reason := _reason_of(error):
            await self._give_up(reason, context)
        if isinstance(error, grpc.aio.AbortError) or _call_is_cancelled(error):
            raise error
        if not isinstance(error, ServiceError):
            log.exception("a call failed unforeseen")
            error = Internal("INTERNAL", "Something went wrong here; the request id finds it in the log.")
        if code := _code_of(context):
            await context.abort(code, context.details())
        await context.abort_with_status(rpc_status.to_status(to_status(error, self._domain)))

    async def _give_up(self, reason: ServiceError, context: Context) -> None:
        """Ends a call that its service has given up; a client that reads nothing is not waited for long."""
        status = rpc_status.to_status(to_status(reason, self._domain))
        try:
            async with asyncio.timeout(FAREWELL_S):
                await context.abort_with_status(status)
        except TimeoutError as error:
            raise asyncio.CancelledError from error


@contextmanager
def _observed(method: str, context: Context) -> Iterator[None]:
    """Sets the context of a call, then counts, times and logs how it ended."""
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    request_id.set(metadata.get(REQUEST_ID) or new_request_id())
    left: Any = context.time_remaining()  # None without a deadline, whatever its stubs say
    deadline.set(None if left is None else time.monotonic() + left)
    started, code = time.monotonic(), grpc.StatusCode.UNKNOWN
    UNDER_WAY.labels(method).inc()
    try:
        with tracer().start_as_current_span(
            method.removeprefix("/"), context=propagate.extract(metadata), kind=trace.SpanKind.SERVER
        ):
            yield
        code = _code_of(context) or grpc.StatusCode.OK
    except asyncio.CancelledError:
        left = remaining_time()
        late = left is not None and left < CLOCK_SLACK_S
        code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
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
            known = {"caller": name} if (name := caller.get()) else {}
            log.info(method.rpartition("/")[2], code=code.name, ms=round(seconds * 1e3, 1), **known)


def _reason_of(error: BaseException) -> ServiceError | None:
    """Why a service cancelled its own call, as `task.cancel(error)` told it: then the call may still end."""
    task, reason = asyncio.current_task(), error.args[0] if error.args else None
    if not isinstance(error, asyncio.CancelledError) or not isinstance(reason, ServiceError) or task is None:
        return None
    task.uncancel()
    return reason


def _call_is_cancelled(error: BaseException) -> bool:
    """Whether grpc cancelled the call; a handler may also fail because something it awaited was cancelled."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _code_of(context: Context) -> grpc.StatusCode | None:
    """The code a handler has set; grpc keeps a bare number where it came with a status."""
    code: int | grpc.StatusCode = context.code()
    return next((known for known in _FAILURES if code in (known, known.value[0])), None)


_FAILURES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
# (request streams, response streams): attribute of a handler, and what makes one
_SHAPES = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}
