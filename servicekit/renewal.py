"""A channel whose certificates may be replaced while calls run over it.

gRPC for Python cannot change the credentials of an open channel, so another one is opened in its place.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Self

import grpc

from servicekit.watched import Watched

RETIRE_S = 86_400.0  # longer than any call: it is over when the last one is

Open = Callable[[grpc.ChannelCredentials], grpc.aio.Channel]


class RenewedChannel(grpc.aio.Channel):
    """Opens another channel when the credentials change; calls under way end on the one they began on."""

    def __init__(self, credentials: Watched[grpc.ChannelCredentials], open_channel: Open):
        self._credentials, self._open = credentials, open_channel
        self._shown = credentials.get()
        self._channel = open_channel(self._shown)
        self._retiring: dict[asyncio.Task[None], grpc.aio.Channel] = {}

    def _current(self) -> grpc.aio.Channel:
        shown = self._credentials.get()
        if shown is not self._shown:
            task = asyncio.create_task(self._channel.close(RETIRE_S))
            self._retiring[task] = self._channel
            task.add_done_callback(self._retiring.pop)
            self._shown, self._channel = shown, self._open(shown)
        return self._channel

    def _method(self, shape: str, *arguments: Any, **options: Any) -> Any:
        def call(*call_arguments: Any, **call_options: Any) -> Any:
            return getattr(self._current(), shape)(*arguments, **options)(*call_arguments, **call_options)

        return call

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._method("unary_unary", *arguments, **options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._method("unary_stream", *arguments, **options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        return self._method("stream_unary", *arguments, **options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        return self._method("stream_stream", *arguments, **options)

    async def close(self, grace: float | None = None) -> None:
        """Closes it, and those before it that still have calls."""
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        for channel in (self._channel, *retiring.values()):
            await channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._current().channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
