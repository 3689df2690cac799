"""A picture of pictures: photos drawn by seed from what the model never saw, each with what was said.

Only photos whose licence lets a repository show them: groceries (MIT), and rendered scenes in the style
kept for evaluation.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training.data.icons import EVAL_STYLE, draw_all
from training.data.photos import list_photos, open_photo
from training.data.scenes import SceneMaker
from training.evaluate_scenes import FIRST_SEED
from training.pipeline import Pipeline, Question

COLUMNS, PHOTOS, SCENES = 6, 12, 12
CELL, TEXT_LINES, FONT_SIZE = 200, 3, 14
LINE = FONT_SIZE + 4
QUESTIONS = ("描述这张图片。", "图片里有什么？", "请详细描述这张图片。")


def write_contact_sheet(data: Path, icons: Path, bundle: Path, font: Path, out: Path) -> None:
    """Draws the pictures, asks, and writes the sheet; the same seed shows the same pictures."""
    rng = random.Random(0)
    groceries = [photo for photo in list_photos(data) if photo.kind == "grocery" and photo.split == "val"]
    pictures = [open_photo(data, photo) for photo in rng.sample(groceries, PHOTOS)]
    maker = SceneMaker(draw_all(icons, (EVAL_STYLE,)), (EVAL_STYLE,))
    pictures += [maker.make(FIRST_SEED + seed)[0] for seed in rng.sample(range(1000), SCENES)]
    pipeline = Pipeline.open(bundle)
    asked = [QUESTIONS[index % len(QUESTIONS)] for index in range(len(pictures))]
    questions = [Question((question,), (index,)) for index, question in enumerate(asked)]
    said = pipeline.answer(questions, pipeline.encode(pictures))
    sheet(pictures, said, ImageFont.truetype(str(font), FONT_SIZE)).quantize(128).save(out, optimize=True)


def sheet(pictures: Sequence[Image.Image], said: Sequence[str], font: ImageFont.FreeTypeFont) -> Image.Image:
    """All pictures in rows, and under each its text, cut where it is too long."""
    height = CELL + TEXT_LINES * LINE
    rows = -(-len(pictures) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * CELL, rows * height), "white")
    draw = ImageDraw.Draw(page)
    width = (CELL - 8) // FONT_SIZE
    for index, (picture, text) in enumerate(zip(pictures, said, strict=True)):
        left, top = index % COLUMNS * CELL, index // COLUMNS * height
        page.paste(picture.convert("RGB").resize((CELL - 8, CELL - 8)), (left + 4, top + 4))
        lines = [text[start : start + width] for start in range(0, len(text), width)]
        if len(lines) > TEXT_LINES:
            lines[TEXT_LINES - 1] = lines[TEXT_LINES - 1][:-1] + "…"
        for number, line in enumerate(lines[:TEXT_LINES]):
            draw.text((left + 4, top + CELL + number * LINE), line, fill="black", font=font)
    return page
