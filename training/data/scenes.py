"""Scenes rendered from drawings: up to six things on a grid of nine places, and what is true of them."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image, ImageFilter

from training.data.icons import colour_of, tint
from training.data.things import THINGS, Thing

SIDE = 192
GRID = 3
MOST = 6
PLACES = ("左上角", "上方", "右上角", "左边", "中间", "右边", "左下角", "下方", "右下角")
ENGLISH_PLACES = (
    "in the top left corner",
    "at the top",
    "in the top right corner",
    "on the left",
    "in the middle",
    "on the right",
    "in the bottom left corner",
    "at the bottom",
    "in the bottom right corner",
)
_BY_NAME = {thing.name: thing for thing in THINGS}

Drawings = Mapping[tuple[str, str], Image.Image]
Finish = Callable[[Image.Image, random.Random], Image.Image]


@dataclass(frozen=True)
class Group:
    """Things of one kind and colour, and the places (0 to 8, row by row) they stand in."""

    thing: Thing
    colour: str | None
    places: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.places)


@dataclass(frozen=True)
class Scene:
    """What is to be seen."""

    groups: tuple[Group, ...]

    @property
    def things(self) -> set[Thing]:
        return {group.thing for group in self.groups}

    def of(self, thing: Thing) -> list[Group]:
        """The groups of one kind; they differ in colour."""
        return [group for group in self.groups if group.thing == thing]

    @property
    def in_order(self) -> list[Group]:
        """The groups as they are read: by the first place of each."""
        return sorted(self.groups, key=lambda group: group.places)

    def places_of(self, thing: Thing, colour: str | None = None) -> tuple[int, ...]:
        """Where things of one kind stand; of one colour, if one is given."""
        return tuple(p for g in self.of(thing) if colour in (None, g.colour) for p in g.places)

    def to_dict(self) -> dict[str, Any]:
        return {"groups": [[g.thing.name, g.colour, list(g.places)] for g in self.groups]}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        return cls(tuple(Group(_BY_NAME[name], c, tuple(places)) for name, c, places in raw["groups"]))


class SceneMaker:
    """Draws scenes from given drawings; the same seed gives the same scene.

    finish: a last touch to every drawing.
    """

    def __init__(
        self,
        drawings: Drawings,
        styles: Sequence[str],
        photos: Sequence[Image.Image] = (),
        finish: Finish | None = None,
    ):
        self._drawings, self._styles, self._photos, self._finish = drawings, styles, photos, finish
        self._things = {
            style: [thing for thing in THINGS if (style, thing.name) in drawings] for style in styles
        }

    def make(self, seed: int) -> tuple[Image.Image, Scene]:
        """A picture of SIDE x SIDE, and what it shows."""
        rng = random.Random(seed)
        style = rng.choice(self._styles)
        picture = self._background(rng)
        free = rng.sample(range(GRID * GRID), GRID * GRID)
        groups: list[Group] = []
        for thing in self._kinds(self._things[style], rng):
            wanted = rng.choices((1, 2, 3, 4, 5, 6), (58, 18, 10, 6, 4, 4))[0]
            count = min(wanted, MOST - sum(group.count for group in groups))
            drawing = self._drawings[style, thing.name]
            if thing.tintable and rng.random() < 0.7:
                drawing = tint(drawing, rng.random(), rng.uniform(0.9, 1.2))
            colour = colour_of(drawing)
            if count < 1 or any(g.thing == thing and g.colour == colour for g in groups):
                continue
            if self._finish:
                drawing = self._finish(drawing, rng)
            places = tuple(sorted(free.pop() for _ in range(count)))
            size = rng.randint(44, 60)
            for place in places:
                self._paste(picture, drawing, place, size, rng)
            groups.append(Group(thing, colour, places))
        return _as_photo(picture, rng), Scene(tuple(groups))

    @staticmethod
    def _kinds(things: Sequence[Thing], rng: random.Random) -> list[Thing]:
        kinds = rng.sample(things, rng.choices((1, 2, 3, 4), (25, 35, 28, 12))[0])
        if kinds[0].tintable and rng.random() < 0.3:  # a second one, in another colour
            kinds.append(kinds[0])
        return kinds

    def _background(self, rng: random.Random) -> Image.Image:
        if self._photos and rng.random() < 0.25:
            photo = rng.choice(self._photos).convert("RGB").resize((SIDE, SIDE))
            veil = Image.new("RGB", (SIDE, SIDE), _pale(rng))
            return Image.blend(photo.filter(ImageFilter.GaussianBlur(6)), veil, rng.uniform(0.3, 0.7))
        upper, lower = np.array(_pale(rng)), np.array(_pale(rng))
        if rng.random() < 0.5:
            lower = upper
        ramp = np.linspace(0, 1, SIDE)[:, None, None]
        pixels = np.broadcast_to(upper * (1 - ramp) + lower * ramp, (SIDE, SIDE, 3))
        return Image.fromarray(pixels.astype(np.uint8))

    @staticmethod
    def _paste(picture: Image.Image, drawing: Image.Image, place: int, size: int, rng: random.Random) -> None:
        size = round(size * rng.uniform(0.92, 1.08))
        small = drawing.resize((size, size), Image.Resampling.BILINEAR)
        if rng.random() < 0.5:
            small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        small = small.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)
        cell, spare = SIDE // GRID, SIDE // GRID - size
        row, column = divmod(place, GRID)
        jitter = max(2, spare // 2)
        left = column * cell + spare // 2 + rng.randint(-jitter, jitter)
        top = row * cell + spare // 2 + rng.randint(-jitter, jitter)
        picture.paste(small, (left, top), small)


def _pale(rng: random.Random) -> tuple[int, int, int]:
    """A light background colour, now and then a dark one."""
    low = 40 if rng.random() < 0.1 else 175
    return (rng.randint(low, low + 80), rng.randint(low, low + 80), rng.randint(low, low + 80))


def _as_photo(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Light, blur and noise as a camera would add them."""
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    noise = np.random.default_rng(rng.randrange(2**32)).normal(0, rng.uniform(0, 6), (SIDE, SIDE, 3))
    pixels = np.asarray(picture, dtype=np.float32) * rng.uniform(0.9, 1.08) + noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
