"""Pictures to lines of text: look for any on a small copy, and only then read a larger one, line by line.

What a small copy shows may be grain or a pattern, so a few of its finds are tried before the larger one is
searched.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from PIL import Image

from services.vision.text.layout import Quad, cut_out, reading_order

# Sides in pixels. Searching 480 x 360 costs about 50 ms of one core, 960 x 720 five times as much; reading a
# find costs 20 ms.
SEEK_SIDE = 480
READ_SIDE = 960
MIN_SIDE = 16
TRIED = 4

MIN_CONFIDENCE = 0.6
MAX_LINES = 64
MAX_CHARACTERS = 1000


class TextModel(Protocol):
    """Finds lines in a picture, and recognises one that was cut out."""

    def find(self, image: Image.Image) -> Sequence[Quad]:
        """Where lines stand, in any order."""

    def recognise(self, line: Image.Image) -> tuple[str, float]:
        """What a line says, and how sure that is, between 0 and 1."""


@dataclass(frozen=True)
class Line:
    """One line that was read; `quad` is in pixels of the picture."""

    text: str
    confidence: float
    quad: Quad


@dataclass(frozen=True)
class Reading:
    """Lines in reading order; `complete` is False when time ran out before the last one.

    seconds: how long reading took.
    """

    lines: tuple[Line, ...] = ()
    complete: bool = True
    seconds: float = 0.0

    def scaled(self, x: float, y: float) -> "Reading":
        """The same in a picture of another size."""
        return replace(self, lines=tuple(replace(line, quad=line.quad.scaled(x, y)) for line in self.lines))


UNREAD = Reading()


def read_text(model: TextModel, image: Image.Image, deadline: float = float("inf")) -> Reading:
    """Reads an RGB picture until `deadline`, a time of `time.monotonic`; doubtful lines are left out."""
    if min(image.size) < MIN_SIDE:
        return Reading()
    if time.monotonic() >= deadline:
        return Reading(complete=False)
    small = _bounded(image, SEEK_SIDE)
    found = model.find(small)
    if not found:
        return Reading()
    if time.monotonic() >= deadline:
        return Reading(complete=False)
    page = small
    if max(image.size) > SEEK_SIDE:
        enlarged = [quad.scaled(image.width / small.width, image.height / small.height) for quad in found]
        likeliest = sorted(enlarged, key=lambda quad: quad.width * quad.height, reverse=True)[:TRIED]
        if not any(_reads(model, image, quad) for quad in likeliest):
            return Reading()
        page = _bounded(image, READ_SIDE)
        found = model.find(page)
    scale = image.width / page.width, image.height / page.height
    lines: list[Line] = []
    for quad in reading_order(found)[:MAX_LINES]:
        if time.monotonic() >= deadline:
            return Reading(tuple(lines), complete=False).scaled(*scale)
        text, confidence = model.recognise(cut_out(page, quad))
        if confidence >= MIN_CONFIDENCE and text.strip():
            lines.append(Line(text.strip(), confidence, quad))
        if sum(len(line.text) for line in lines) >= MAX_CHARACTERS:
            break
    return Reading(tuple(lines)).scaled(*scale)


def _reads(model: TextModel, page: Image.Image, quad: Quad) -> bool:
    text, confidence = model.recognise(cut_out(page, quad))
    return confidence >= MIN_CONFIDENCE and bool(text.strip())


def _bounded(image: Image.Image, side: int) -> Image.Image:
    """The picture, or a copy that is no longer than `side`."""
    scale = side / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(scale * length)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
