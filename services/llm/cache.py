"""Embeddings in memory: those seen before, and room for those in use. Used from the event loop alone."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Encoding:
    """What an encoder made of one medium: [tokens, hidden], and what was heard."""

    embedding_TD: torch.Tensor
    transcript: str = ""


class EncodingCache:
    """Forgets the least recently used when `capacity` bytes are full."""

    def __init__(self, capacity: int):
        self.capacity, self.nbytes = capacity, 0
        self._encodings: OrderedDict[Hashable, Encoding] = OrderedDict()

    def get(self, key: Hashable) -> Encoding | None:
        encoding = self._encodings.get(key)
        if encoding is not None:
            self._encodings.move_to_end(key)
        return encoding

    def put(self, key: Hashable, encoding: Encoding) -> None:
        """Keeps an encoding, unless it alone is larger than the cache."""
        size = encoding.embedding_TD.nbytes
        if key in self._encodings or size > self.capacity:
            return
        self._encodings[key] = encoding
        self.nbytes += size
        while self.nbytes > self.capacity:
            _, oldest = self._encodings.popitem(last=False)
            self.nbytes -= oldest.embedding_TD.nbytes


class ByteBudget:
    """Bytes that may be held at the same time; who finds no room waits."""

    def __init__(self, capacity: int):
        self.capacity, self.held = capacity, 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, nbytes: int) -> AsyncIterator[None]:
        """Room for `nbytes` at most `capacity`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.held + nbytes <= self.capacity)
            self.held += nbytes
        try:
            yield
        finally:
            self.held -= nbytes
            async with self._changed:
                self._changed.notify_all()
