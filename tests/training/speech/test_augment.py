"""Changed clips stay clips: the same speech, of a known length, finite."""

import numpy as np
import pytest

from training.speech import augment
from training.speech.augment import Chances

CLIP = (0.3 * np.sin(np.arange(16_000) / 9)).astype(np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("change", [augment.add_room, augment.add_noise, augment.narrow_band])
def test_a_change_keeps_length_and_likeness(change: object) -> None:
    changed = change(CLIP, rng())  # type: ignore[operator]
    assert changed.dtype == np.float32
    assert len(changed) == len(CLIP)
    assert not np.array_equal(changed, CLIP)
    assert np.corrcoef(changed, CLIP)[0, 1] > 0.7


def test_noise_is_as_loud_as_drawn() -> None:
    for seed in range(20):
        noise = augment.add_noise(CLIP, rng(seed)) - CLIP
        decibels = 20 * np.log10(np.sqrt((CLIP**2).mean() / (noise**2).mean()))
        assert 7.9 < decibels < 35.1


def test_a_narrow_band_takes_the_high_tones() -> None:
    high = np.sin(2 * np.pi * 7_900 * np.arange(16_000) / 16_000).astype(np.float32)
    assert np.abs(augment.narrow_band(high, rng())).max() < 0.05


def test_the_codec_has_eight_bits() -> None:
    coarse = augment.mu_law(CLIP)
    assert len(np.unique(coarse)) <= 255
    assert np.abs(coarse - CLIP).max() < 0.02


def test_speed_changes_the_length() -> None:
    lengths = {len(augment.change_speed(CLIP, rng(seed), 1.0)) for seed in range(5)}
    assert len(lengths) == 5
    assert all(0.88 <= length / len(CLIP) <= 1.14 for length in lengths)
    assert augment.change_speed(CLIP, rng(), 0.0) is CLIP


def test_a_seed_gives_the_same_disturbance() -> None:
    chances = Chances(room=1, noise=1, band=1, codec=1)
    one, other = (augment.disturb(CLIP, rng(4), chances) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert np.isfinite(one).all()


def test_masked_features_fall_to_the_mean() -> None:
    frames = np.ones((300, 40), np.float32)
    masked = [augment.mask_features(frames, rng(seed)) for seed in range(20)]
    assert set(np.unique(masked)) == {0, 1}
    assert np.mean(masked) > 0.5
    assert frames.min() == 1
