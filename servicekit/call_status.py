"""What a server ended a stream with, although the client was still writing.

grpc's asyncio client replaces the server's status by INTERNAL when a write fails as the status arrives
(https://github.com/grpc/grpc/issues/36066), so whoever streams requests would not hear why it was refused.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import grpc

LATE_S = 0.1


class CallStatus:
    """Notes the first status of a call; to be made before the call is used."""

    def __init__(self, call: grpc.aio.Call):
        self._call = call
        self._first: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    async def told(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """The server's own status, where `error` stands in its place."""
        if error.code() is not grpc.StatusCode.INTERNAL or self._first is None:
            return error
        if self._first.code() is not grpc.StatusCode.INTERNAL:
            return self._first
        await asyncio.sleep(LATE_S)  # the failed write was noticed first, and the status comes after it
        return await _status(self._call)

    def _note(self, call: grpc.aio.Call) -> None:
        # The call is done, so that nothing here waits; a task would come too late, with the status replaced.
        self._first = _result(_status(call))


async def _status(call: grpc.aio.Call) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        await call.code(), grpc.aio.Metadata(), await call.trailing_metadata(), await call.details()
    )


def _result(coroutine: Coroutine[Any, Any, grpc.aio.AioRpcError]) -> grpc.aio.AioRpcError | None:
    try:
        coroutine.send(None)
    except StopIteration as finished:
        status: grpc.aio.AioRpcError = finished.value
        return status
    coroutine.close()
    return None
