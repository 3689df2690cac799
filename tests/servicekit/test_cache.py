"""A cache bounded in bytes."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge

from servicekit.cache import ByteCache, CacheMetrics, CountedCache

EACH = 128


@dataclass(frozen=True)
class Value:
    nbytes: int
    mark: int = 0


def value(mark: int = 0) -> Value:
    return Value(EACH, mark)


def test_a_value_comes_back_under_its_digest() -> None:
    cache = ByteCache[bytes, Value](10 * EACH)
    kept = value()
    cache.put(b"a", kept)
    assert cache.get(b"a") is kept
    assert cache.get(b"b") is None


def test_least_recently_used_goes_first() -> None:
    cache = ByteCache[bytes, Value](2 * EACH)
    cache.put(b"a", value())
    cache.put(b"b", value())
    cache.get(b"a")
    cache.put(b"c", value())
    assert cache.get(b"b") is None
    assert cache.get(b"a") is not None
    assert cache.get(b"c") is not None


def test_bytes_never_exceed_the_capacity() -> None:
    cache = ByteCache[bytes, Value](3 * EACH + 1)
    for index in range(20):
        cache.put(bytes([index]), value())
        assert cache.nbytes == len(cache) * EACH
        assert cache.nbytes <= cache.capacity
    assert len(cache) == 3


def test_putting_twice_counts_once() -> None:
    cache = ByteCache[bytes, Value](10 * EACH)
    cache.put(b"a", value(1))
    cache.put(b"a", value(2))
    assert (len(cache), cache.nbytes) == (1, EACH)
    found = cache.get(b"a")
    assert found is not None
    assert found.mark == 2


def test_what_is_larger_than_the_cache_is_not_kept_and_drops_nothing() -> None:
    cache = ByteCache[bytes, Value](EACH)
    cache.put(b"a", value())
    cache.put(b"big", Value(10 * EACH))
    assert cache.get(b"big") is None
    assert cache.get(b"a") is not None


def test_capacity_zero_keeps_nothing() -> None:
    cache = ByteCache[bytes, Value](0)
    cache.put(b"a", value())
    assert len(cache) == 0


def test_hits_misses_evictions_and_bytes_are_counted() -> None:
    registry = CollectorRegistry()
    hits, misses, evictions = (
        Counter(name, "", registry=registry) for name in ("hits", "misses", "evictions")
    )
    metrics = CacheMetrics(hits, misses, evictions, Gauge("bytes", "", registry=registry))
    cache = CountedCache[bytes, Value](EACH, metrics)
    cache.get(b"a")
    cache.put(b"a", value())
    cache.get(b"a")
    cache.get(b"a")
    cache.put(b"b", value())
    names = ("hits_total", "misses_total", "evictions_total", "bytes")
    assert [registry.get_sample_value(name) for name in names] == [2, 1, 1, EACH]
