"""Where lines of text stand: in which order they are read, and how one is cut out."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from PIL import Image

TALL = 1.5  # a box this much higher than wide holds a line that runs downwards
MAX_HEIGHT = 96  # of a cut-out line in pixels; recognisers look at half of that
SAME_ROW = 0.5  # of a line's height, between the middles of two boxes side by side


class Quad(NamedTuple):
    """Corners x0, y0 .. x3, y3 clockwise from the top left of a line, in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float
    x2: float
    y2: float
    x3: float
    y3: float

    @property
    def middle(self) -> float:
        """Its height in the picture."""
        return (self.y0 + self.y1 + self.y2 + self.y3) / 4

    @property
    def width(self) -> float:
        """Length of the longer one of top and bottom."""
        return max(
            math.dist((self.x0, self.y0), (self.x1, self.y1)),
            math.dist((self.x3, self.y3), (self.x2, self.y2)),
        )

    @property
    def height(self) -> float:
        """Length of the longer one of left and right."""
        return max(
            math.dist((self.x0, self.y0), (self.x3, self.y3)),
            math.dist((self.x1, self.y1), (self.x2, self.y2)),
        )

    def scaled(self, x: float, y: float) -> "Quad":
        """The same box in a picture of another size."""
        return Quad(*(value * (y if index % 2 else x) for index, value in enumerate(self)))


def reading_order(quads: Iterable[Quad]) -> list[Quad]:
    """Top to bottom; boxes side by side from left to right."""
    rows: list[list[Quad]] = []
    for quad in sorted(quads, key=lambda quad: quad.middle):
        if rows and quad.middle - rows[-1][0].middle < SAME_ROW * min(quad.height, rows[-1][0].height):
            rows[-1].append(quad)
        else:
            rows.append([quad])
    return [quad for row in rows for quad in sorted(row, key=lambda quad: quad.x0)]


def cut_out(image: Image.Image, quad: Quad) -> Image.Image:
    """The line straightened; one that runs downwards is laid on its side, as recognisers expect."""
    scale = min(1, MAX_HEIGHT / max(1, min(quad.width, quad.height)))
    size = max(1, round(scale * quad.width)), max(1, round(scale * quad.height))
    corners = (quad.x0, quad.y0, quad.x3, quad.y3, quad.x2, quad.y2, quad.x1, quad.y1)
    line = image.transform(size, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)
    return line.transpose(Image.Transpose.ROTATE_90) if size[1] >= TALL * size[0] else line
