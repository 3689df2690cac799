"""Normalising levels while they arrive: each frame by what was heard up to it, beginning from a prior.

The same as `features.normalise`, which needs the whole clip, once the utterance is long beside the prior.
T feature frames, M mel bands.
"""

from dataclasses import dataclass
from typing import Self

import torch

LEAST_SPREAD = 1e-5


@dataclass(frozen=True)
class RunningLevels:
    """Sums over the frames of one utterance, in float64, so that the cut into chunks does not matter."""

    frames: float
    sum_M: torch.Tensor
    squares_M: torch.Tensor

    @classmethod
    def start(cls, mean_M: torch.Tensor, spread_M: torch.Tensor, frames: int) -> Self:
        """The prior counts as that many frames with this mean and standard deviation."""
        mean_M, spread_M = mean_M.double(), spread_M.double()
        return cls(float(frames), mean_M * frames, (mean_M.square() + spread_M.square()) * frames)

    def normalise(self, levels_TM: torch.Tensor) -> tuple[torch.Tensor, Self]:
        """dB to the encoder's input, and the sums with these frames in them."""
        levels = levels_TM.double()
        sums_TM = self.sum_M + levels.cumsum(0)
        squares_TM = self.squares_M + levels.square().cumsum(0)
        heard_T1 = self.frames + torch.arange(1, len(levels) + 1, device=levels.device)[:, None]
        mean_TM = sums_TM / heard_T1
        spread_T1 = (squares_TM / heard_T1 - mean_TM.square()).mean(1, keepdim=True).clamp_min(0).sqrt()
        normalised_TM = (levels - mean_TM) / spread_T1.clamp_min(LEAST_SPREAD)
        after = type(self)(
            self.frames + len(levels), self.sum_M + levels.sum(0), self.squares_M + levels.square().sum(0)
        )
        return normalised_TM.to(levels_TM), after
