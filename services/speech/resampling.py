"""Samples from any rate to the model's."""

import math
from fractions import Fraction

import torch
import torchaudio

# Bounds the resampling kernel. Ordinary rates are met exactly, odd ones to less than a millionth.
MOST_PHASES = 1280
REACH = 64
"""Samples on either side that may decide an output sample; kernels for all rates heard are narrower."""


def resample(samples_N: torch.Tensor, rate: int, target: int) -> torch.Tensor:
    """Mono samples at `target` hertz."""
    if rate == target:
        return samples_N
    ratio = _ratio(rate, target)
    resampled_N: torch.Tensor = torchaudio.functional.resample(samples_N, ratio.denominator, ratio.numerator)
    return resampled_N


def resample_part(samples_N: torch.Tensor, rate: int, target: int, start: int, end: int) -> torch.Tensor:
    """The same as `resample(...)[start:end]`, but only that part is computed."""
    if rate == target:
        return samples_N[start:end]
    ratio = _ratio(rate, target)
    # The part begins where the kernel's phase is that of the beginning.
    period = max(0, start // ratio.numerator - math.ceil(REACH / ratio.denominator))
    part_N = samples_N[period * ratio.denominator : samples_needed(end, rate, target)]
    skipped = period * ratio.numerator
    return resample(part_N, rate, target)[start - skipped : end - skipped]


def samples_needed(end: int, rate: int, target: int) -> int:
    """How many samples at `rate` decide the first `end` samples at `target`."""
    return end if rate == target else math.ceil(end / _ratio(rate, target)) + REACH


def _ratio(rate: int, target: int) -> Fraction:
    return Fraction(target, rate).limit_denominator(MOST_PHASES)
