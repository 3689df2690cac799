"""Pictures nobody has seen before."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

GRAIN = 12  # standard deviation: about the file size of a real photo


def photos(width: int, height: int, seed: int) -> Iterator[bytes]:
    """JPEG files, each different: large soft shapes under a grain."""
    rng = np.random.default_rng(seed)
    while True:
        shapes = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        soft = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        grain = rng.standard_normal((height, width, 1), dtype=np.float32) * GRAIN
        yield _file(Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8)), "JPEG")


def solids(count: int, seed: int) -> list[bytes]:
    """Small PNG files of one colour each, all different."""
    colours = np.random.default_rng(seed).choice(1 << 24, count, replace=False)
    return [solid((int(c) >> 16, int(c) >> 8 & 255, int(c) & 255)) for c in colours]


def solid(colour: tuple[int, int, int], side: int = 64) -> bytes:
    """A PNG file of one colour."""
    return _file(Image.new("RGB", (side, side), colour), "PNG")


def _file(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, quality=85)
    return file.getvalue()
