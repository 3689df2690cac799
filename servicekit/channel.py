"""Channels to other services: every call carries a deadline, the request id and the trace."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from opentelemetry import propagate

from servicekit.renewal import RenewedChannel
from servicekit.settings import TLSSettings
from servicekit.telemetry import remaining_time, request_id
from servicekit.tls import channel_credentials

DEFAULT_TIMEOUT_S = 60.0
MAX_MESSAGE_BYTES = 64 << 20
REQUEST_ID = "x-request-id"
SERVICE_CONFIG = '{"loadBalancingConfig": [{"round_robin": {}}]}'


def open_channel(
    target: str, *, max_message_bytes: int = MAX_MESSAGE_BYTES, tls: TLSSettings | None = None
) -> grpc.aio.Channel:
    """A channel, in plaintext unless told otherwise; SettingsError when certificates cannot be read.

    Calls without a timeout inherit the deadline of the request being served.
    """
    options = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # Who is frozen, or gone without a word, is given up on after 7 seconds. ping_timeout is what ends the
        # wait for a ping; left out, it takes a minute, however short keepalive_timeout is.
        ("grpc.keepalive_time_ms", 3_000),
        ("grpc.keepalive_timeout_ms", 4_000),
        ("grpc.http2.ping_timeout_ms", 4_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.min_reconnect_backoff_ms", 2_000),  # also how long one attempt to connect may take
        ("grpc.service_config", SERVICE_CONFIG),
        ("grpc.enable_retries", 0),
    ]
    interceptors = [_UnaryUnary(), _UnaryStream(), _StreamUnary(), _StreamStream()]
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    return RenewedChannel(
        channel_credentials(tls),
        lambda shown: grpc.aio.secure_channel(target, shown, options=options, interceptors=interceptors),
    )


def prepare(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
    """Adds who asked, and caps the timeout by what is left of the request being served."""
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    if metadata.get(REQUEST_ID) is None and request_id.get():
        metadata[REQUEST_ID] = request_id.get()
    trace_context: dict[str, str] = {}
    propagate.inject(trace_context)
    for key, value in trace_context.items():
        metadata[key] = value
    left = remaining_time()
    timeouts = [timeout for timeout in (details.timeout, left) if timeout is not None]
    return grpc.aio.ClientCallDetails(
        method=details.method,
        timeout=min(timeouts, default=DEFAULT_TIMEOUT_S),
        metadata=metadata,
        credentials=details.credentials,
        wait_for_ready=details.wait_for_ready,
    )


Continuation = Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]]


class _UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Continuation, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(prepare(client_call_details), request)


class _UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Continuation, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(prepare(client_call_details), request)


class _StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self,
        continuation: Continuation,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await continuation(prepare(client_call_details), request_iterator)


class _StreamStream(grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self,
        continuation: Continuation,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await continuation(prepare(client_call_details), request_iterator)
