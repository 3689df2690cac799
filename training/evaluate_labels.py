"""Asks for the ingredients on rendered labels: what the text reader makes of them is what the model gets."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from services.vision.text.rapid import RapidOCRModel
from services.vision.text.reader import read_text
from training.data.labels import INGREDIENTS, Label, make_label
from training.pipeline import Pipeline, Question

LABELS = 40
FIRST_SEED = 2_000_000
MARGIN, LINE = 24, 34
FONTS = (".ttf", ".ttc", ".otf")

Reader = Callable[[Image.Image], Sequence[str]]


def render_label(label: Label, font: Path, rng: random.Random) -> Image.Image:
    """A label as a photo would show it: printed, a little turned, light and noise."""
    size, ink = rng.randint(20, 26), rng.randint(0, 70)
    face = ImageFont.truetype(str(font), size)
    width = rng.randint(360, 520)
    rows: list[str] = []
    for line in label.lines:
        row = ""
        for character in line:
            if face.getlength(row + character) > width - 2 * MARGIN:
                rows.append(row)
                row = ""
            row += character
        rows.append(row)
    paper = tuple(rng.randint(205, 255) for _ in range(3))
    picture = Image.new("RGB", (width, 2 * MARGIN + LINE * len(rows)), paper)
    draw = ImageDraw.Draw(picture)
    for index, row in enumerate(rows):
        draw.text((MARGIN, MARGIN + LINE * index), row, fill=(ink, ink, ink), font=face)
    picture = picture.rotate(rng.uniform(-2, 2), Image.Resampling.BICUBIC, expand=True, fillcolor=paper)
    noise = np.random.default_rng(rng.randrange(2**32)).normal(0, rng.uniform(0, 8), (*picture.size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def list_fonts(folder: Path) -> list[Path]:
    """The fonts below a folder; FileNotFoundError where there is none."""
    fonts = sorted(path for path in folder.rglob("*") if path.suffix.lower() in FONTS)
    if not fonts:
        raise FileNotFoundError(f"{folder} holds no font ({', '.join(FONTS)})")
    return fonts


def text_reader() -> Reader:
    """What the vision service reads with."""
    model = RapidOCRModel.load()
    return lambda picture: [line.text for line in read_text(model, picture).lines]


def evaluate_labels(
    pipeline: Pipeline, fonts: Sequence[Path], read: Reader
) -> tuple[dict[str, float], list[tuple[str, str, str]]]:
    """Share of ingredients that were said, and of labels with all of them, in percent; the samples."""
    labels, pictures = [], []
    for index in range(LABELS):
        rng = random.Random(FIRST_SEED + index)
        labels.append(make_label(rng))
        pictures.append(render_label(labels[-1], fonts[index % len(fonts)], rng))
    written = [tuple(read(picture)) for picture in pictures]
    images = pipeline.encode(pictures)
    questions = [Question(INGREDIENTS[:1], (i,), written=lines) for i, lines in enumerate(written)]
    said = pipeline.answer(questions, images)
    named = [[one in text for one in label.ingredients] for label, text in zip(labels, said, strict=True)]
    scores = {
        "label_ingredients": 100 * sum(map(sum, named)) / sum(map(len, named)),
        "label_all_right": 100 * sum(map(all, named)) / len(named),
    }
    samples = [
        (f"{' '.join(lines)} {INGREDIENTS[0]}", text, "、".join(label.ingredients))
        for lines, text, label in zip(written, said, labels, strict=True)
    ]
    return scores, samples
