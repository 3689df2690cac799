"""Small pictures as files, made on the spot."""

import io
from typing import Any

import numpy as np
from PIL import Image


def file_of(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    """The bytes of the picture saved in a format."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def photo(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    """Smooth random colours, different for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def quadrants(width: int = 32, height: int = 16) -> Image.Image:
    """Red, green / blue, white: it looks different however it is turned or mirrored."""
    corners = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.NEAREST)
