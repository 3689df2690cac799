"""Pixels as the official processor makes them."""

import numpy as np
import pytest
import torch
from PIL import Image

from servicekit.errors import InvalidArgument
from services.vision.patches import PatchSettings, cut_patches, fit_area, normalise
from tests.pictures import photo
from tests.vision.published import official_pixels

SIZES = [
    (1, 1), (3, 5), (27, 28), (28, 28), (29, 27), (41, 43), (70, 14), (112, 112), (137, 91), (333, 250),
    (640, 481), (1, 200), (5600, 28), (997, 31), (13, 1021), (1080, 2400), (2399, 1079),
]  # fmt: skip


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 10_000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def check(image: Image.Image, settings: PatchSettings) -> None:
    expected, grid = official_pixels(image, settings.min_pixels, settings.max_pixels)
    patches, grid_thw = cut_patches(image, settings)
    assert list(grid_thw) == grid
    frames = expected.unflatten(1, (3, 2, -1))
    pixels = normalise(torch.from_numpy(patches), settings).unflatten(1, (3, -1))
    assert torch.equal(frames[:, :, 0], pixels)
    assert torch.equal(frames[:, :, 1], pixels)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pixels_are_the_official_ones_bit_for_bit(width: int, height: int) -> None:
    check(noise(width, height), PatchSettings())


@pytest.mark.parametrize("limits", [(1, 40_000), (100_000, 200_000), (56 * 56, 5_000_000)])
@pytest.mark.parametrize(("width", "height"), [(9, 300), (28, 29), (211, 107), (400, 600)])
def test_they_are_so_under_other_bounds(width: int, height: int, limits: tuple[int, int]) -> None:
    check(noise(width, height), PatchSettings().limited(*limits))


def test_random_sizes_take_the_official_grid() -> None:
    from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize

    rng = np.random.default_rng(0)
    settings = PatchSettings(max_pixels=5_000_000)
    for width, height in np.exp(rng.uniform(0, np.log(6000), (2000, 2))).astype(int).tolist():
        try:
            height_width = smart_resize(
                2, height, width, min_pixels=settings.min_pixels, max_pixels=settings.max_pixels
            )
        except ValueError:
            with pytest.raises(InvalidArgument):
                fit_area(width, height, settings)
        else:
            assert fit_area(width, height, settings) == height_width[::-1], (width, height)


def test_a_phone_screen_takes_3108_tokens_under_the_official_bound() -> None:
    width, height = fit_area(1080, 2400, PatchSettings(max_pixels=5_000_000))
    assert (width // 28) * (height // 28) == 3108


def test_a_strip_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument) as raised:
        cut_patches(photo(8041, 40), PatchSettings())
    assert (raised.value.reason, raised.value.field) == ("IMAGE_TOO_NARROW", "image")


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"do_resize": False}, "do_resize is off"),
        ({"do_normalize": False}, "do_normalize is off"),
        ({"resample": 2}, "resample is 2, not bicubic"),
    ],
)
def test_another_way_to_make_pixels_is_refused(raw: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        PatchSettings.from_dict(raw)


def test_bounds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="min_pixels 12544 exceeds max_pixels 1000"):
        PatchSettings().limited(None, 1000)


def test_settings_left_out_are_the_official_ones() -> None:
    from transformers import Glm4vImageProcessorPil

    assert PatchSettings.from_dict({}) == PatchSettings.from_dict(Glm4vImageProcessorPil().to_dict())
