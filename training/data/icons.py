"""Drawings of the things in several styles, rasterised from npm's `@iconify-json` packages."""

import colorsys
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image

from training.data.things import THINGS, Thing

TRAIN_STYLES = (
    "noto",
    "twemoji",
    "fluent-emoji-flat",
    "fluent-emoji",
    "noto-v1",
    "emojione",
    "fxemoji",
    "streamline-emojis",
)
TUNE_STYLE, EVAL_STYLE = "emojione-v1", "openmoji"  # never trained on: to choose by, and for the report
LICENCES = {
    "noto": "Apache-2.0",
    "twemoji": "CC BY 4.0",
    "fluent-emoji-flat": "MIT",
    "fluent-emoji": "MIT",
    "noto-v1": "Apache-2.0",
    "emojione": "CC BY 4.0",
    "fxemoji": "Apache-2.0",
    "streamline-emojis": "CC BY 4.0",
    "emojione-v1": "CC BY-SA 4.0 (evaluation only)",
    "openmoji": "CC BY-SA 4.0 (evaluation only)",
}
SIDE = 96
PLAIN_COLOURS = ("红色", "橙色", "黄色", "绿色", "蓝色", "紫色", "粉色", "棕色")
COLOURS = (*PLAIN_COLOURS, "黑色", "白色", "灰色")
ENGLISH_COLOURS = dict(
    zip(
        COLOURS,
        ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey"),
        strict=True,
    )
)
CLEAR_SHARE = 0.55  # of the pixels; below, a drawing has no colour to ask for

_EMOJI_VARIATION = "\ufe0f"


class IconSet:
    """One drawing style, read from `iconify-json-STYLE-*.tgz` in `folder`."""

    def __init__(self, folder: Path, style: str):
        self.style = style
        files = _package(folder, style)
        self._icons = files["icons.json"]
        names = files.get("chars.json") or _package(folder, "fluent-emoji-flat")["chars.json"]
        self._names: Mapping[str, str] = names

    def draws(self, thing: Thing) -> bool:
        return self._name(thing) is not None

    def draw(self, thing: Thing) -> Image.Image:
        """The thing as RGBA, SIDE x SIDE. Raises KeyError where the style has no such drawing."""
        name = self._name(thing)
        if name is None:
            raise KeyError(f"{self.style} draws no {thing.english}")
        icon = self._icons["icons"][name]
        width = icon.get("width", self._icons.get("width", 16))
        height = icon.get("height", self._icons.get("height", 16))
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        png = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, skip_system_fonts=True)
        return Image.open(io.BytesIO(bytes(png))).convert("RGBA")

    def _name(self, thing: Thing) -> str | None:
        bare = thing.emoji.replace(_EMOJI_VARIATION, "")
        for form in (thing.emoji, bare, bare + _EMOJI_VARIATION):
            name = self._names.get("-".join(f"{ord(char):04x}" for char in form))
            if name in self._icons["icons"]:
                return name
        return None


def draw_all(folder: Path, styles: Sequence[str]) -> dict[tuple[str, str], Image.Image]:
    """Every drawing there is: (style, name of the thing) -> RGBA."""
    sets = [IconSet(folder, style) for style in styles]
    return {(icons.style, t.name): icons.draw(t) for icons in sets for t in THINGS if icons.draws(t)}


def tint(drawing: Image.Image, turn: float, saturation: float) -> Image.Image:
    """The drawing with its hues turned by `turn` (1 is a full circle)."""
    rgba = np.asarray(drawing)
    hsv = np.asarray(Image.fromarray(rgba[..., :3]).convert("HSV")).astype(np.int32)
    hsv[..., 0] = (hsv[..., 0] + round(turn * 256)) % 256
    hsv[..., 1] = np.clip(hsv[..., 1] * saturation, 0, 255)
    rgb = np.asarray(Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB"))
    return Image.fromarray(np.dstack((rgb, rgba[..., 3])), "RGBA")


def colour_of(drawing: Image.Image) -> str | None:
    """What anyone would call its colour; None where it has several."""
    rgba = np.asarray(drawing.resize((24, 24)))
    seen = rgba[rgba[..., 3] > 200][:, :3]
    names = [_name_colour(*pixel) for pixel in seen.tolist()]
    # Outlines, highlights and shadows do not make the colour of a thing, unless there is no other.
    vivid = [name for name in names if name in PLAIN_COLOURS]
    counted = vivid if len(vivid) > 0.35 * len(names) else names
    if not counted:
        return None
    best = max(set(counted), key=counted.count)
    return best if counted.count(best) >= CLEAR_SHARE * len(counted) else None


def _name_colour(red: int, green: int, blue: int) -> str:
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    degrees = hue * 360
    if value < 0.2:
        return "黑色"
    if saturation < 0.16:
        return "白色" if value > 0.85 else "灰色"
    if saturation < 0.3 and value < 0.75:
        return "灰色"
    if (degrees < 20 or degrees >= 335) and saturation < 0.55 and value > 0.75:
        return "粉色"
    if degrees < 20 or degrees >= 345:
        return "红色" if value > 0.45 and (value > 0.7 or saturation > 0.65) else "棕色"
    if degrees < 42:
        return "棕色" if value < 0.8 or saturation < 0.62 else "橙色"
    if degrees < 70:
        return "黄色" if value > 0.6 else "棕色"
    if degrees < 170:
        return "绿色"
    if degrees < 255:
        return "蓝色"
    if degrees < 300:
        return "紫色"
    return "粉色"


@cache
def _package(folder: Path, style: str) -> dict[str, Any]:
    found = sorted(folder.glob(f"iconify-json-{style}-[0-9]*.tgz"))
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no iconify-json-{style}-*.tgz: npm pack @iconify-json/{style}"
        )
    files = {}
    with tarfile.open(found[-1]) as archive:
        for member in archive:
            name = member.name.removeprefix("package/")
            content = archive.extractfile(member) if name in ("icons.json", "chars.json") else None
            if content is not None:
                files[name] = json.load(content)
    return files
