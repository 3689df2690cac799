"""What the engine counts about itself; plain numbers, for whoever exports them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 4.096, 16.384, 65.536)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Distribution:
    """How often values fell between bounds, each bound included in what lies below it."""

    def __init__(self, bounds: Sequence[float]):
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        return sum(self.counts)


def _seconds() -> Distribution:
    return Distribution(SECONDS)


def _counts() -> Distribution:
    return Distribution(COUNTS)


@dataclass(frozen=True)
class Distributions:
    """Measured by step, by request or by token."""

    queue_seconds: Distribution = field(default_factory=_seconds)
    """By request: from arrival to its first chunk."""
    step_seconds: Distribution = field(default_factory=_seconds)
    step_sequences: Distribution = field(default_factory=_counts)
    step_tokens: Distribution = field(default_factory=_counts)
    token_interval_seconds: Distribution = field(default_factory=_seconds)
    """By token after an answer's first: since the one before."""


@dataclass
class Counters:
    """Grow from the start on."""

    steps: int = 0
    generated_tokens: int = 0
    prefill_tokens: int = 0
    prefix_hit_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    expired_blocks: int = 0


@dataclass(frozen=True)
class EngineStats:
    """What the engine looks like from outside."""

    waiting: int
    running: int
    free_blocks: int
    total_blocks: int
    steps: int
    generated_tokens: int
    prefill_tokens: int
    prefix_hit_tokens: int
    preemptions: int
    drafted_tokens: int
    accepted_tokens: int
    expired_blocks: int
