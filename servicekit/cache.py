"""A cache that is bounded in bytes. Takes no lock: use it from one thread, such as the event loop's."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from prometheus_client import Counter, Gauge


class Weighed(Protocol):
    """Something that knows its size."""

    @property
    def nbytes(self) -> int: ...


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", bound=Weighed)


class ByteCache(Generic[Key, Value]):
    """Drops the least recently used values when `capacity` bytes are full."""

    def __init__(self, capacity: int):
        self.capacity, self.nbytes = capacity, 0
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        """The value, which thereby becomes the most recently used."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> int:
        """Keeps a value, unless it alone is larger than the cache; how many were dropped for it."""
        if value.nbytes > self.capacity:
            return 0
        if (old := self._values.pop(key, None)) is not None:
            self.nbytes -= old.nbytes
        self._values[key] = value
        self.nbytes += value.nbytes
        dropped = 0
        while self.nbytes > self.capacity:
            self.nbytes -= self._values.popitem(last=False)[1].nbytes
            dropped += 1
        return dropped


@dataclass(frozen=True)
class CacheMetrics:
    """What an embedding cache tells Prometheus, as `autoglm_SERVICE_cache_*`."""

    hits: Counter
    misses: Counter
    evictions: Counter
    bytes_held: Gauge

    @classmethod
    def of(cls, service: str, things: str) -> Self:
        """`things` is what the embeddings are of, such as Pictures."""
        prefix = f"autoglm_{service}_cache"
        return cls(
            Counter(f"{prefix}_hits_total", f"{things} answered from the embedding cache."),
            Counter(f"{prefix}_misses_total", f"{things} that were not in the embedding cache."),
            Counter(f"{prefix}_evictions_total", "Embeddings dropped to make room."),
            Gauge(f"{prefix}_bytes", "Bytes held by the embedding cache."),
        )


class CountedCache(ByteCache[Key, Value]):
    """One that tells its metrics what it does."""

    def __init__(self, capacity: int, metrics: CacheMetrics):
        super().__init__(capacity)
        self._metrics = metrics

    def get(self, key: Key) -> Value | None:
        value = super().get(key)
        (self._metrics.misses if value is None else self._metrics.hits).inc()
        return value

    def put(self, key: Key, value: Value) -> int:
        dropped = super().put(key, value)
        self._metrics.evictions.inc(dropped)
        self._metrics.bytes_held.set(self.nbytes)
        return dropped
