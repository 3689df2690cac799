"""Solid pictures are of one colour, and the same each time."""

import numpy as np
import pytest

from training.data.solids import solid_names, solid_picture


@pytest.mark.parametrize("colour", solid_names())
def test_a_picture_is_one_colour_and_reproducible(colour: str) -> None:
    pixels = np.asarray(solid_picture(colour, 0), dtype=int)
    assert np.ptp(pixels, axis=(0, 1)).max() == 0
    assert np.array_equal(pixels, np.asarray(solid_picture(colour, 0)))


def test_light_noise_stays_light() -> None:
    pixels = np.asarray(solid_picture("灰色", 1), dtype=int)
    assert 0 < pixels.std(axis=(0, 1)).max() < 6
