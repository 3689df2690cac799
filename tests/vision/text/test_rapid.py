"""The packaged models on a printed label (tests/vision/text/label.jpg) and on pictures without text."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from services.vision.text.rapid import RapidOCRModel
from services.vision.text.reader import read_text
from tests.pictures import photo

LABEL = Path(__file__).with_name("label.jpg")
PHOTOS = sorted(Path("examples/photos").glob("*.jpg"))


@pytest.fixture(scope="module")
def model() -> RapidOCRModel:
    return RapidOCRModel.load()


def test_a_label_is_read_in_order(model: RapidOCRModel) -> None:
    lines = read_text(model, Image.open(LABEL).convert("RGB")).lines
    assert lines[0].text == "山谷柠檬味饮料"
    assert "水、白砂糖、柠檬酸、食用香精" in "".join(line.text for line in lines)
    assert "500毫升" in "".join(line.text for line in lines)
    assert all(line.confidence > 0.6 for line in lines)
    tops = [line.quad.middle for line in lines]
    assert tops == sorted(tops)


def test_a_label_in_a_large_picture_is_read_and_placed(model: RapidOCRModel) -> None:
    scene = photo(2400, 1800)
    label = Image.open(LABEL).convert("RGB").resize((794, 580))
    scene.paste(label, (1200, 600))
    lines = read_text(model, scene).lines
    assert "山谷柠檬味饮料" in [line.text for line in lines]
    assert all(1200 <= line.quad.x0 <= 1994 and 600 <= line.quad.y0 <= 1180 for line in lines)


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_a_photo_without_text_gives_no_lines(model: RapidOCRModel, path: Path) -> None:
    assert read_text(model, Image.open(path).convert("RGB")).lines == ()


def test_weights_too_small_to_be_normal_numbers_do_not_slow_it_down(model: RapidOCRModel) -> None:
    torch.set_flush_denormal(False)
    model.find(Image.new("RGB", (64, 64)))
    assert torch.tensor(1e-40) * 1 == 0
    torch.set_flush_denormal(False)
