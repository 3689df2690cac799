"""The embedding cache."""

import torch
from prometheus_client import REGISTRY

from services.vision.cache import EmbeddingCache, Encoding

EACH = 4 * 8 * 4  # bytes of one encoding below


def encoding(value: float = 0.0) -> Encoding:
    return Encoding(torch.full((4, 8), value), 10, 20)


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"autoglm_vision_cache_{name}") or 0.0


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
