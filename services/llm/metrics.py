"""Prometheus metrics of the language-model service."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate

import structlog
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from services.llm.engine.stats import Distribution, Distributions, EngineStats

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
START_SECONDS = Gauge(
    "autoglm_llm_start_seconds", "Time of each phase from start to the first answer.", ["phase"]
)

log = structlog.get_logger("llm")


@contextmanager
def start_phase(phase: str) -> Iterator[None]:
    """Times one phase of the start: into the log and the gauge, unless it fails."""
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    START_SECONDS.labels(phase).set(seconds)
    log.info(f"start: {phase} took {seconds:.2f} s")


_GAUGES = {
    "waiting": "Requests that wait for media or a turn.",
    "running": "Requests that share the steps.",
    "free_blocks": "Blocks of the key-value cache that nobody holds.",
    "total_blocks": "Blocks of the key-value cache.",
}
_COUNTERS = {
    "steps": "Passes of the backbone.",
    "generated_tokens": "Tokens answered.",
    "prefill_tokens": "Prompt tokens computed, those computed again after a preemption included.",
    "prefix_hit_tokens": "Prompt tokens whose keys and values were cached.",
    "preemptions": "Answers sent back to the queue because the cache was full.",
    "drafted_tokens": "Tokens guessed from what an answer repeats.",
    "accepted_tokens": "Guessed tokens that were right.",
    "expired_blocks": "Blocks given back because the attention window had left them behind.",
}
_HISTOGRAMS = {
    "queue_seconds": "From arrival to the first pass, by request.",
    "step_seconds": "Time of one pass, sampling included.",
    "step_sequences": "Requests that shared a pass.",
    "step_tokens": "Tokens of one pass, prompts, answers and guesses together.",
    "token_interval_seconds": "Between one token of an answer and the next.",
}


class EngineCollector(Collector):
    """Reads the engine when asked, so that counting costs a step nothing."""

    def __init__(self, stats: Callable[[], EngineStats], distributions: Distributions):
        self._stats, self._distributions = stats, distributions

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"autoglm_llm_{name}", text, value=getattr(stats, name))
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"autoglm_llm_{name}", text, value=getattr(stats, name))
        for name, text in _HISTOGRAMS.items():
            yield _histogram(f"autoglm_llm_{name}", text, getattr(self._distributions, name))


def _histogram(name: str, text: str, distribution: Distribution) -> HistogramMetricFamily:
    bounds = [*map(str, distribution.bounds), "+Inf"]
    buckets = list(zip(bounds, accumulate(distribution.counts), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=distribution.sum)
