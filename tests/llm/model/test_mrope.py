"""Positions of prompts with pictures equal those of transformers."""

from typing import Any

import pytest
import torch
from transformers import Glm4vConfig
from transformers.models.glm4v.modeling_glm4v import Glm4vModel

from services.llm.model.mrope import PictureSpan, mrope_positions

MERGE = 2


@pytest.fixture(scope="module")
def official() -> Glm4vModel:
    """Only its arithmetic is asked; it has no weights."""
    with torch.device("meta"):
        return Glm4vModel(Glm4vConfig(text_config={"num_hidden_layers": 1}, vision_config={"depth": 1}))


@pytest.mark.parametrize(
    ("length", "pictures"),
    [
        (7, []),
        (30, [PictureSpan(4, (1, 6, 10))]),
        (15, [PictureSpan(0, (1, 6, 10))]),
        (40, [PictureSpan(3, (1, 14, 2)), PictureSpan(12, (1, 2, 2)), PictureSpan(15, (1, 4, 22))]),
        (3108 + 40, [PictureSpan(20, (1, 168, 74))]),
    ],
    ids=["text", "one", "nothing else", "several", "screenshot"],
)
def test_positions_and_delta_equal_those_of_transformers(
    official: Glm4vModel, length: int, pictures: list[PictureSpan]
) -> None:
    kinds_1T = torch.zeros(1, length, dtype=torch.int)
    for picture in pictures:
        time, height, width = picture.merged(MERGE)
        kinds_1T[0, picture.start : picture.start + time * height * width] = 1
    grids = torch.tensor([picture.grid_thw for picture in pictures]) if pictures else None
    index: Any = official.get_rope_index  # its annotations name legacy tensor classes
    wanted_31T, wanted_delta = index(torch.zeros_like(kinds_1T).long(), kinds_1T, grids)
    positions_3T, delta = mrope_positions(length, pictures, MERGE)
    assert torch.equal(positions_3T, wanted_31T[:, 0])
    assert delta == int(wanted_delta)


@pytest.mark.parametrize("start", [-1, 3], ids=["overlap", "beyond"])
def test_a_picture_that_does_not_fit_is_refused(start: int) -> None:
    with pytest.raises(ValueError, match="does not fit 8 tokens"):
        mrope_positions(8, [PictureSpan(start, (1, 4, 6))], MERGE)
