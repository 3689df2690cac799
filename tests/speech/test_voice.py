"""Speech is told from everything else, at any rate and in any chunks."""

import numpy as np
import pytest
import torch

from services.speech.audio import AudioFormat, read_clip
from services.speech.resampling import resample
from services.speech.voice import VoiceDetector, VoiceNetwork


@pytest.fixture(scope="module")
def samples() -> dict[int, np.ndarray]:
    from pathlib import Path

    data = (Path(__file__).parent / "clips" / "apple.opus").read_bytes()
    clip = read_clip(data, AudioFormat(), max_seconds=60)
    own = torch.from_numpy(clip.samples)
    return {rate: resample(own, clip.rate, rate).numpy() for rate in (8_000, 16_000, 44_100)}


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_speech_is_heard_at_any_rate(samples: dict[int, np.ndarray], rate: int, voices: VoiceNetwork) -> None:
    probabilities = VoiceDetector(rate, voices).feed(samples[rate])
    assert len(probabilities) == len(samples[rate]) // round(rate * 0.032)
    assert sum(p > 0.5 for p in probabilities) > 0.3 * len(probabilities)


@pytest.mark.parametrize("chunk", [1_000, 333])
def test_the_cut_into_chunks_does_not_matter(
    samples: dict[int, np.ndarray], chunk: int, voices: VoiceNetwork
) -> None:
    whole = VoiceDetector(16_000, voices).feed(samples[16_000][:32_000])
    detector, pieces = VoiceDetector(16_000, voices), []
    for start in range(0, 32_000, chunk):
        pieces += detector.feed(samples[16_000][start : min(start + chunk, 32_000)])
    assert pieces == whole


def test_silence_and_noise_are_no_speech(voices: VoiceNetwork) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    for quiet in (np.zeros(32_000, np.float32), noise):
        assert max(VoiceDetector(16_000, voices).feed(quiet)) < 0.5
