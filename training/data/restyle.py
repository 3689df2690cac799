"""Varies how a thing is drawn, so that a model learns the thing and not the hand that drew it."""

import random

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

CONTOURS = ((20, 20, 20), (60, 40, 30), (255, 255, 255), (40, 50, 90))


def restyle(drawing: Image.Image, rng: random.Random) -> Image.Image:
    """The drawing with another finish; its colours keep their names."""
    if rng.random() < 0.25:
        drawing = _flatten(drawing, rng.randint(2, 4))
    if rng.random() < 0.25:
        drawing = _ink(drawing, rng.uniform(0.6, 1.5))
    if rng.random() < 0.4:
        drawing = _outline(drawing, rng.choice(CONTOURS), rng.choice((3, 5, 7)))
    if rng.random() < 0.3:
        drawing = _shade(drawing, rng.uniform(-0.25, 0.25))
    return drawing


def _flatten(drawing: Image.Image, bits: int) -> Image.Image:
    """Fewer shades, as in a print."""
    return _with_alpha(ImageOps.posterize(drawing.convert("RGB"), bits), drawing)


def _ink(drawing: Image.Image, strength: float) -> Image.Image:
    """Dark lines where one part meets another."""
    edges = drawing.convert("L").filter(ImageFilter.FIND_EDGES).filter(ImageFilter.MaxFilter(3))
    paper = edges.point(lambda edge: max(0, 255 - round(edge * strength)))
    return _with_alpha(ImageChops.multiply(drawing.convert("RGB"), paper.convert("RGB")), drawing)


def _outline(drawing: Image.Image, colour: tuple[int, int, int], width: int) -> Image.Image:
    """A contour around the thing, as of a sticker or a pen."""
    under = Image.new("RGBA", drawing.size, (*colour, 0))
    under.putalpha(drawing.getchannel("A").filter(ImageFilter.MaxFilter(width)))
    return Image.alpha_composite(under, drawing)


def _shade(drawing: Image.Image, slope: float) -> Image.Image:
    """Light from one side."""
    ramp = np.linspace(1 - slope, 1 + slope, drawing.width)[None, :, None]
    lit = np.clip(np.asarray(drawing.convert("RGB")) * ramp, 0, 255).astype(np.uint8)
    return _with_alpha(Image.fromarray(lit), drawing)


def _with_alpha(rgb: Image.Image, drawing: Image.Image) -> Image.Image:
    rgb.putalpha(drawing.getchannel("A"))
    return rgb
