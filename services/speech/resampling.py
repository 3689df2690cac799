"""Samples from any rate to the model's."""

from fractions import Fraction

import torch
import torchaudio

# Bounds the resampling kernel. Ordinary rates are met exactly, odd ones to less than a millionth.
MOST_PHASES = 1280


def resample(samples_N: torch.Tensor, rate: int, target: int) -> torch.Tensor:
    """Mono samples at `target` hertz."""
    if rate == target:
        return samples_N
    ratio = Fraction(target, rate).limit_denominator(MOST_PHASES)
    resampled_N: torch.Tensor = torchaudio.functional.resample(samples_N, ratio.denominator, ratio.numerator)
    return resampled_N
