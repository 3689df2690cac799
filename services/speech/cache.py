"""Embeddings of clips heard before, keyed by content digest, bounded in bytes, counted."""

from dataclasses import dataclass

import torch

from servicekit.cache import ByteCache
from services.speech import metrics


@dataclass(frozen=True)
class Encoding:
    """What the recogniser made of one clip: [tokens, hidden] on the CPU, what was said, for how long."""

    embedding: torch.Tensor
    transcript: str
    seconds: float

    @property
    def nbytes(self) -> int:
        """Bytes of the embedding and the transcript."""
        return self.embedding.nbytes + len(self.transcript.encode())


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
