"""Character error rates, with the uncertainty that so few clips leave."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.speech.sentences import han

RESAMPLES = 2_000
CONFIDENCE = 95


def edits(truth: str, said: str) -> int:
    """Characters to insert, delete or replace."""
    costs = list(range(len(said) + 1))
    for i, wanted in enumerate(truth, 1):
        diagonal, costs[0] = costs[0], i
        for j, heard in enumerate(said, 1):
            cheapest = min(costs[j] + 1, costs[j - 1] + 1, diagonal + (wanted != heard))
            diagonal, costs[j] = costs[j], cheapest
    return costs[-1]


@dataclass(frozen=True)
class ErrorRate:
    """In percent of the truth's characters; the interval is a bootstrap over clips."""

    percent: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.percent:.1f} ({self.low:.1f}-{self.high:.1f})"


def error_rate(truths: Sequence[str], texts: Sequence[str], seed: int = 0) -> ErrorRate:
    """Punctuation, spaces and anything else that is no Chinese character do not count."""
    errors = np.array([edits(han(truth), han(text)) for truth, text in zip(truths, texts, strict=True)])
    lengths = np.array([len(han(truth)) for truth in truths])
    draws = np.random.default_rng(seed).integers(0, len(errors), (RESAMPLES, len(errors)))
    rates = 100 * errors[draws].sum(1) / lengths[draws].sum(1)
    margin = (100 - CONFIDENCE) / 2
    low, high = np.percentile(rates, [margin, 100 - margin])
    return ErrorRate(100 * errors.sum() / lengths.sum(), float(low), float(high))


def exact_percent(truths: Sequence[str], texts: Sequence[str]) -> float:
    """Share of clips without an error."""
    right = sum(han(truth) == han(text) for truth, text in zip(truths, texts, strict=True))
    return 100 * right / len(truths)
