"""Log-mel features against a plain computation in float64."""

import numpy as np
import torch

from services.speech.model.config import FeatureConfig
from services.speech.model.features import LogMel, mel_bands, normalise

CONFIG = FeatureConfig()


def plain(samples: np.ndarray) -> np.ndarray:
    """Frame by frame, as the definition says."""
    emphasised = np.append(samples[0], samples[1:] - 0.97 * samples[:-1])
    frames = int(np.ceil((len(samples) - 551) / 220))
    padded = np.append(emphasised, np.zeros(frames * 220 + 551 - len(samples)))
    window = np.hamming(551)
    power = [
        abs(np.fft.rfft(padded[i * 220 : i * 220 + 551] * window, 512)) ** 2 / 512 for i in range(frames)
    ]
    levels: np.ndarray = 20 * np.log10(np.maximum(np.array(power) @ mel_bands(CONFIG).double().numpy(), 1e-9))
    return levels


def test_they_are_what_their_definition_says() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 22_050)
    levels = LogMel(CONFIG)(torch.from_numpy(samples).float()).numpy()
    assert levels.shape == (98, 40)
    assert np.abs(levels - plain(samples)).max() < 0.01  # dB


def test_digital_silence_is_finite() -> None:
    assert LogMel(CONFIG)(torch.zeros(22_050)).unique().tolist() == [-180.0]
    assert normalise(LogMel(CONFIG)(torch.zeros(22_050))).isfinite().all()


def test_normalised_bands_lie_around_zero_with_one_spread() -> None:
    torch.manual_seed(0)
    features = normalise(torch.randn(50, 40) * torch.linspace(1, 5, 40) + 100)
    assert features.mean(0).abs().max() < 1e-4
    assert abs(float(features.std(correction=0)) - 1) < 1e-4


def test_every_band_hears_something() -> None:
    assert (mel_bands(CONFIG).sum(0) > 0).all()
