"""Prometheus metrics of the language-model service."""

from collections.abc import Callable, Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.llm.engine.engine import EngineStats

FIRST_TOKEN_SECONDS = Histogram(
    "autoglm_llm_first_token_seconds",
    "From arrival to the first token.",
    buckets=(0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6),
)
TOKEN_SECONDS = Histogram(
    "autoglm_llm_token_seconds",
    "Mean time per token after the first, by request.",
    buckets=(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512),
)
MEDIA = Counter(
    "autoglm_llm_media_total", "Media in prompts, by where their embeddings came from.", ["source"]
)

_GAUGES = {
    "waiting": "Requests that wait for media or a turn.",
    "running": "Requests that share the steps.",
    "free_blocks": "Blocks of the key-value cache that nobody holds.",
    "total_blocks": "Blocks of the key-value cache.",
}
_COUNTERS = {
    "steps": "Passes of the backbone.",
    "generated_tokens": "Tokens answered.",
    "prefix_hit_tokens": "Prompt tokens whose keys and values were cached.",
}


class EngineCollector(Collector):
    """Reads the engine when asked, so that counting costs a step nothing."""

    def __init__(self, stats: Callable[[], EngineStats]):
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"autoglm_llm_{name}", text, value=getattr(stats, name))
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"autoglm_llm_{name}", text, value=getattr(stats, name))
