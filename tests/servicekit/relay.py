"""A way to a server that can fall silent without breaking, as that to a frozen process does."""

import asyncio
from types import TracebackType
from typing import Self

CHUNK = 1 << 16


class Relay:
    """Passes bytes on, both ways, until it is frozen."""

    def __init__(self, target: int) -> None:
        self._target, self._frozen = target, False
        self._pumps: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.freeze()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._server.close()
        await self._server.wait_closed()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # transports close with the next turn of the loop

    def freeze(self) -> None:
        """Nothing comes through any more; the connections stay."""
        self._frozen = True
        for pump in self._pumps:
            pump.cancel()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if self._frozen:
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.append(inner_writer)
        for source, sink in ((reader, inner_writer), (inner_reader, writer)):
            self._pumps.append(asyncio.create_task(_pump(source, sink)))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK):
        sink.write(data)
        await sink.drain()
