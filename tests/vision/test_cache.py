"""The embedding cache."""

import torch
from prometheus_client import REGISTRY

from services.vision.cache import EmbeddingCache, Encoding

EACH = 4 * 8 * 4  # bytes of one encoding below


def encoding(value: float = 0.0) -> Encoding:
    return Encoding(torch.full((4, 8), value), 10, 20)


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"autoglm_vision_cache_{name}") or 0.0


def test_an_encoding_comes_back_under_its_digest() -> None:
    cache = EmbeddingCache(10 * EACH)
    kept = encoding()
    cache.put(b"a", kept)
    assert cache.get(b"a") is kept
    assert cache.get(b"b") is None


def test_least_recently_used_goes_first() -> None:
    cache = EmbeddingCache(2 * EACH)
    cache.put(b"a", encoding())
    cache.put(b"b", encoding())
    cache.get(b"a")
    cache.put(b"c", encoding())
    assert cache.get(b"b") is None
    assert cache.get(b"a") is not None
    assert cache.get(b"c") is not None


def test_bytes_never_exceed_the_capacity() -> None:
    cache = EmbeddingCache(3 * EACH + 1)
    for index in range(20):
        cache.put(bytes([index]), encoding())
        assert cache.nbytes == len(cache) * EACH
        assert cache.nbytes <= cache.capacity
    assert len(cache) == 3


def test_putting_twice_counts_once() -> None:
    cache = EmbeddingCache(10 * EACH)
    cache.put(b"a", encoding(1.0))
    cache.put(b"a", encoding(2.0))
    assert (len(cache), cache.nbytes) == (1, EACH)
    found = cache.get(b"a")
    assert found is not None
    assert found.embedding[0, 0] == 2


def test_what_is_larger_than_the_cache_is_not_kept_and_drops_nothing() -> None:
    cache = EmbeddingCache(EACH)
    cache.put(b"a", encoding())
    cache.put(b"big", Encoding(torch.zeros(100, 8), 1, 1))
    assert cache.get(b"big") is None
    assert cache.get(b"a") is not None


def test_capacity_zero_keeps_nothing() -> None:
    cache = EmbeddingCache(0)
    cache.put(b"a", encoding())
    assert len(cache) == 0


def test_hits_misses_evictions_and_bytes_are_counted() -> None:
    before = {name: metric(name) for name in ("hits_total", "misses_total", "evictions_total")}
    cache = EmbeddingCache(EACH)
    cache.get(b"a")
    cache.put(b"a", encoding())
    cache.get(b"a")
    cache.get(b"a")
    cache.put(b"b", encoding())
    assert {name: metric(name) - count for name, count in before.items()} == {
        "hits_total": 2,
        "misses_total": 1,
        "evictions_total": 1,
    }
    assert metric("bytes") == EACH
