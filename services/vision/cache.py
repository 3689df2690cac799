"""Embeddings of pictures seen before, keyed by content digest, bounded in bytes.

Used from the event loop alone, so it takes no lock.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch

from services.vision import metrics


@dataclass(frozen=True)
class Encoding:
    """What the encoder made of one picture: [tokens, hidden] on the CPU, and the picture's upright size."""

    embedding: torch.Tensor
    width: int
    height: int

    @property
    def nbytes(self) -> int:
        """Bytes of the embedding."""
        return self.embedding.nbytes


class EmbeddingCache:
    """Drops the least recently used encoding when `capacity` bytes are full."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.nbytes = 0
        self._encodings: OrderedDict[bytes, Encoding] = OrderedDict()

    def __len__(self) -> int:
        return len(self._encodings)

    def get(self, digest: bytes) -> Encoding | None:
        """The encoding of the picture with this SHA-256, counted as a hit or a miss."""
        encoding = self._encodings.get(digest)
        if encoding is None:
            metrics.CACHE_MISSES.inc()
            return None
        self._encodings.move_to_end(digest)
        metrics.CACHE_HITS.inc()
        return encoding

    def put(self, digest: bytes, encoding: Encoding) -> None:
        """Keeps an encoding, unless it alone is larger than the cache."""
        if encoding.nbytes > self.capacity:
            return
        self._drop(self._encodings.pop(digest, None))
        self._encodings[digest] = encoding
        self.nbytes += encoding.nbytes
        while self.nbytes > self.capacity:
            self._drop(self._encodings.popitem(last=False)[1])
            metrics.CACHE_EVICTIONS.inc()
        metrics.CACHE_BYTES.set(self.nbytes)

    def _drop(self, encoding: Encoding | None) -> None:
        if encoding is not None:
            self.nbytes -= encoding.nbytes
