"""Samples to log-mel features: [T, mel_bins], mean and spread normalised over the clip."""

import math

import torch
import torchaudio
from torch import nn

from services.speech.model.config import FeatureConfig


class LogMel(nn.Module):
    """Pre-emphasis, short-time spectrum, mel bands, decibels."""

    bands_FM: torch.Tensor

    def __init__(self, config: FeatureConfig):
        super().__init__()
        self.config = config
        self.spectrum = torchaudio.transforms.Spectrogram(
            n_fft=config.fft,
            hop_length=config.hop,
            window_fn=lambda size: torch.hamming_window(config.window, periodic=False)[:size],
            center=False,
        )
        self.register_buffer("bands_FM", mel_bands(config), persistent=False)

    def frames(self, samples: int) -> int:
        """Feature frames of a clip with that many samples."""
        return max(0, math.ceil((samples - self.config.window) / self.config.hop))

    def forward(self, samples_N: torch.Tensor) -> torch.Tensor:
        """Levels in dB, not normalised: samples in -1..1 at the config's rate to [T, mel_bins]."""
        config = self.config
        frames = self.frames(len(samples_N))
        emphasised_N = samples_N.clone()
        emphasised_N[1:] -= config.preemphasis * samples_N[:-1]
        missing = frames * config.hop + config.window - len(samples_N)
        padded_N = nn.functional.pad(emphasised_N, (0, max(0, missing)))
        power_TF = self.spectrum(padded_N)[:, :frames].T / config.fft
        return 20 * (power_TF @ self.bands_FM).clamp_min(config.floor).log10()


def normalise(levels_TM: torch.Tensor) -> torch.Tensor:
    """Each band around zero, then one spread for all of them."""
    centred_TM = levels_TM - levels_TM.mean(0)
    return (centred_TM - centred_TM.mean()) / centred_TM.std(correction=0).clamp_min(1e-5)


def mel_bands(config: FeatureConfig) -> torch.Tensor:
    """Triangles between mel-spaced points that are rounded down to whole bins: [fft / 2 + 1, mel_bins]."""
    highest_mel = 2595 * math.log10(1 + config.sample_rate / 2 / 700)
    mels = torch.linspace(0, highest_mel, config.mel_bins + 2, dtype=torch.float64)
    hertz = 700 * (10 ** (mels / 2595) - 1)
    points = ((config.fft + 1) * hertz / config.sample_rate).floor()
    left_M, centre_M, right_M = points[:-2], points[1:-1], points[2:]
    bins_F1 = torch.arange(config.fft // 2 + 1, dtype=torch.float64)[:, None]
    rising_FM = (bins_F1 - left_M) / (centre_M - left_M)
    falling_FM = (right_M - bins_F1) / (right_M - centre_M)
    bands_FM = torch.where(bins_F1 < centre_M, rising_FM, falling_FM)
    inside_FM = (bins_F1 >= left_M) & (bins_F1 < right_M)
    return torch.where(inside_FM, bands_FM, 0.0).float()
