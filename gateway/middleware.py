"""Around every request: its id, its trace, a line in the log, a count."""

import re
import time
from urllib.parse import quote

import structlog
from opentelemetry import propagate, trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import REQUESTS, SECONDS
from servicekit.channel import REQUEST_ID
from servicekit.telemetry import caller, new_request_id, request_id, tracer

QUIET = ("/health/", "/metrics")  # counted, not logged

_SOUND_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)

log = structlog.get_logger("access")


class RequestContext:
    """Sets the request id and the span that calls to the services inherit."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        current = given if _SOUND_ID.fullmatch(given) else new_request_id()
        request_id.set(current)
        started, status = time.monotonic(), 499  # what stands when the client left first

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = current
            await send(message)

        method = scope["method"]
        with tracer().start_as_current_span(
            method, context=propagate.extract(dict(headers)), kind=trace.SpanKind.SERVER
        ) as span:
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                seconds = time.monotonic() - started
                route = getattr(scope.get("route"), "path", "unknown")
                span.update_name(f"{method} {route}")
                REQUESTS.labels(route, status).inc()
                SECONDS.labels(route).observe(seconds)
                if not route.startswith(QUIET):
                    path = quote(scope["path"])  # a line break in it must not begin a line of the log
                    known = {"caller": name} if (name := caller.get()) else {}
                    log.info(f"{method} {path}", status=status, ms=round(seconds * 1e3, 1), **known)
