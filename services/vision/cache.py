"""Embeddings of pictures seen before, keyed by content digest, bounded in bytes, counted."""

from dataclasses import dataclass

import torch

from servicekit.cache import ByteCache
from services.vision import metrics
from services.vision.checkpoint import GridTHW
from services.vision.text.reader import UNREAD, Reading

LINE_BYTES = 512


@dataclass(frozen=True)
class Encoding:
    """What the encoder made of one picture: [tokens, hidden] on the CPU, and the picture's upright size.

    text: the lines that were read in it.
    """

    embedding: torch.Tensor
    width: int
    height: int
    grid_thw: GridTHW | None = None
    text: Reading = UNREAD

    @property
    def nbytes(self) -> int:
        """Bytes of the embedding, and about those of the text."""
        return self.embedding.nbytes + LINE_BYTES * len(self.text.lines)


class EmbeddingCache(ByteCache[bytes, Encoding]):
    """Tells the metrics what it does; keys are SHA-256 digests."""

    def get(self, key: bytes) -> Encoding | None:
        encoding = super().get(key)
        (metrics.CACHE_MISSES if encoding is None else metrics.CACHE_HITS).inc()
        return encoding

    def put(self, key: bytes, value: Encoding) -> int:
        dropped = super().put(key, value)
        metrics.CACHE_EVICTIONS.inc(dropped)
        metrics.CACHE_BYTES.set(self.nbytes)
        return dropped
