"""Quiet around a clip, as much as it lacks: the decoder invents words where speech begins or ends at once.

The sentences that the recogniser learned from stand in half a second of it on either side.
N samples, at the model's rate.
"""

from dataclasses import dataclass

import torch

QUIET_S = 0.5
FRAME_S = 0.01
FAINT = 10 ** (-30 / 20)
"""Frames fainter than this, beside the loudest one, are quiet already."""
LEVEL = 3e-3
"""Of the noise that is put there, beside the loudest sample."""


@dataclass(frozen=True)
class Quiet:
    """Seconds put before and after a clip."""

    before_s: float = 0.0
    after_s: float = 0.0


def lacking(samples_N: torch.Tensor, rate: int) -> Quiet:
    """What the clip needs to stand in quiet."""
    width = round(rate * FRAME_S)
    loudness_T = samples_N[: len(samples_N) // width * width].view(-1, width).float().square().mean(1).sqrt()
    loud = (loudness_T > FAINT * loudness_T.max()).nonzero()[:, 0].tolist() if len(loudness_T) else []
    if not loud:
        return Quiet(QUIET_S, QUIET_S)
    before_s, after_s = loud[0] * FRAME_S, (len(loudness_T) - 1 - loud[-1]) * FRAME_S
    return Quiet(max(0.0, QUIET_S - before_s), max(0.0, QUIET_S - after_s))


class Surroundings:
    """Faint noise, the same each time."""

    def __init__(self, rate: int, device: torch.device):
        generator = torch.Generator().manual_seed(0)
        self._rate = rate
        self._noise_N = (torch.randn(round(QUIET_S * rate), generator=generator) * LEVEL).to(device)

    def put_around(self, samples_N: torch.Tensor) -> torch.Tensor:
        """The clip with the quiet that it lacks."""
        quiet = lacking(samples_N, self._rate)
        noise_N = self._noise_N * samples_N.abs().max()
        before, after = round(quiet.before_s * self._rate), round(quiet.after_s * self._rate)
        return torch.cat((noise_N[:before], samples_N, noise_N[:after]))
