"""What is rewarded is the caption, not the thought before it."""

import numpy as np
import pytest

from services.llm.tokenizer import END_THINK, USER, Tokenizer
from training.data.photos import Photo
from training.self_critical import SelfCritic


@pytest.fixture
def critic(tokenizer: Tokenizer) -> SelfCritic:
    photo = Photo("scene", "train", "", "1.webp", ("红色苹果。",), "", "", "", "", ())
    return SelfCritic([photo], [np.zeros((1, 4, 8, 8))], tokenizer, 4, seed=0)


def test_a_caption_ends_where_the_turn_ends(critic: SelfCritic, tokenizer: Tokenizer) -> None:
    row = [*tokenizer.encode("苹果。"), tokenizer.special(USER), *tokenizer.encode("你好")]
    assert critic._caption(row, thinks=False) == "苹果。"


def test_a_thought_is_left_out_and_one_without_an_end_leaves_nothing(
    critic: SelfCritic, tokenizer: Tokenizer
) -> None:
    thought, said = tokenizer.encode("很红。"), [*tokenizer.encode("苹果。"), tokenizer.special(USER)]
    assert critic._caption([*thought, tokenizer.special(END_THINK), *said], thinks=True) == "苹果。"
    assert critic._caption([*thought, *said], thinks=True) == ""
