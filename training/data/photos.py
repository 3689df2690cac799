"""The photos to learn from, with what is true of each: one list, in a fixed order."""

import csv
import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from training.data.solids import SOLIDS_PER_COLOUR, solid_names, solid_picture

Kind = Literal["scene", "grocery", "flower", "solid"]
Split = Literal["train", "tune", "val"]

TUNE_PERCENT = 4


@dataclass(frozen=True)
class Photo:
    """One picture: where it lies and what a person said of it."""

    kind: Kind
    split: Split
    archive: str
    member: str
    captions: tuple[str, ...] = ()  # scenes: five sentences by native speakers
    name: str = ""  # the everyday name; for a solid picture its colour
    english: str = ""  # the same in English, more roughly
    coarse: str = ""  # groceries: the coarse class
    group: str = ""  # groceries: kind of thing, such as 水果
    colours: tuple[str, ...] = field(default=())


def list_photos(data: Path) -> list[Photo]:
    """All photos under `data`, solids included; the part to tune on is cut from train by hash."""
    return [*_scenes(data), *_groceries(data), *_flowers(data), *_solids()]


def open_photo(data: Path, photo: Photo) -> Image.Image:
    """The decoded RGB picture."""
    if photo.kind == "solid":
        colour, index = photo.member.split("/")
        return solid_picture(colour, int(index))
    return Image.open(io.BytesIO(_archive(data / photo.archive).read(photo.member))).convert("RGB")


@cache
def _archive(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def _split(member: str) -> Split:
    return "tune" if hashlib.sha256(member.encode()).digest()[0] * 100 < TUNE_PERCENT * 256 else "train"


def _scenes(data: Path) -> Iterator[Photo]:
    folder = "scenes_flickr8k_cn"
    with gzip.open(data / folder / "captions.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            split: Split = "val" if row["split"] == "val" else _split(row["file"])
            yield Photo("scene", split, f"{folder}/{row['zip']}", row["file"], captions=tuple(row["zh"]))


def _groceries(data: Path) -> Iterator[Photo]:
    folder = data / "grocery"
    with (folder / "labels.csv").open(encoding="utf-8") as lines:
        labels = {row["fine_id"]: row for row in csv.DictReader(lines)}
    with (folder / "images.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            label = labels[row["fine_id"]]
            yield Photo(
                "grocery",
                "val" if row["split"] == "val" else _split(row["file"]),
                f"grocery/{row['split']}.zip",
                row["file"],
                name=label["say_zh"],
                english=label["coarse"].lower().replace("-", " "),
                coarse=label["coarse_zh"],
                group=label["kind_zh"],
                colours=tuple(label["colours_zh"].split("|")),
            )


def _flowers(data: Path) -> Iterator[Photo]:
    folder = data / "flowers5"
    archive = next(folder.glob("*.zip")).name
    with (folder / "labels.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            yield Photo(
                "flower",
                _split(row["file"]),
                f"flowers5/{archive}",
                row["file"],
                name=row["zh"],
                english=row["label"],
            )


def _solids() -> Iterator[Photo]:
    for colour in solid_names():
        for index in range(SOLIDS_PER_COLOUR):
            member = f"{colour}/{index}"
            yield Photo("solid", _split(member), "", member, name=colour)


def augment(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A random view: crop of 55-100 % of the area, stretched, mirrored, light changed a little."""
    width, height = image.size
    scale = rng.uniform(0.55, 1.0) ** 0.5
    aspect = float(np.exp(rng.uniform(-0.25, 0.25))) ** 0.5
    crop_w = min(width, round(width * scale * aspect))
    crop_h = min(height, round(height * scale / aspect))
    left, top = rng.integers(0, width - crop_w + 1), rng.integers(0, height - crop_h + 1)
    image = image.crop((int(left), int(top), int(left) + crop_w, int(top) + crop_h))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.asarray(image, dtype=np.float32)
    gain = rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, size=3)
    return Image.fromarray(np.clip(pixels * gain + rng.uniform(-12, 12), 0, 255).astype(np.uint8))
