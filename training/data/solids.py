"""Pictures of one colour, drawn from a seed: what must be told apart from a photo."""

import colorsys
import zlib

import numpy as np
from PIL import Image

SOLIDS_PER_COLOUR = 60
SIDE = 64

# Ranges of hue (degrees), saturation and value that anyone would give this name.
_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "红色": ((-8, 8), (0.75, 1.0), (0.6, 1.0)),
    "橙色": ((22, 39), (0.8, 1.0), (0.85, 1.0)),
    "黄色": ((50, 62), (0.65, 1.0), (0.85, 1.0)),
    "绿色": ((90, 150), (0.55, 1.0), (0.35, 1.0)),
    "青色": ((174, 190), (0.6, 1.0), (0.6, 1.0)),
    "蓝色": ((210, 246), (0.65, 1.0), (0.45, 1.0)),
    "紫色": ((268, 300), (0.5, 1.0), (0.4, 0.9)),
    "粉色": ((328, 356), (0.2, 0.45), (0.95, 1.0)),
    "棕色": ((18, 30), (0.6, 0.85), (0.35, 0.55)),
    "黑色": ((0, 360), (0.0, 0.2), (0.0, 0.08)),
    "白色": ((0, 360), (0.0, 0.02), (0.97, 1.0)),
    "灰色": ((0, 360), (0.0, 0.05), (0.38, 0.66)),
}


def solid_names() -> tuple[str, ...]:
    """The colours, in a fixed order."""
    return tuple(_RANGES)


def solid_picture(colour: str, index: int) -> Image.Image:
    """The `index`-th picture of `colour`; every other one carries light noise."""
    rng = np.random.default_rng(zlib.crc32(f"{colour}/{index}".encode()))
    hue, saturation, value = (rng.uniform(low, high) for low, high in _RANGES[colour])
    pixel = np.array(colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value)) * 255
    noise = rng.normal(0, 3, size=(SIDE, SIDE, 3)) if index % 2 else 0.0
    pixels = np.broadcast_to(pixel, (SIDE, SIDE, 3)) + noise
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
