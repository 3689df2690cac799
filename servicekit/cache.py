"""A cache that is bounded in bytes. Takes no lock: use it from one thread, such as the event loop's."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


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
