"""Characters are placed where the head is surest of them, and their pieces say new texts."""

import numpy as np
import torch

from training.speech.collage import Collage, align


def logs_of(classes: list[int], count: int = 5) -> np.ndarray:
    logits = torch.full((len(classes), count), -4.0)
    logits[range(len(classes)), classes] = 4.0
    return logits.log_softmax(-1).numpy()


def test_characters_are_placed_at_their_spikes() -> None:
    assert align(logs_of([0, 1, 0, 0, 2, 0, 3]), [1, 2, 3]) == [1, 4, 6]


def test_a_repeated_character_needs_a_blank_between() -> None:
    assert align(logs_of([0, 2, 0, 2, 0]), [2, 2]) == [1, 3]
    assert align(logs_of([2, 2, 2]), [2, 2]) == [0, 2]


def test_a_character_that_is_not_there_is_squeezed_in() -> None:
    assert align(logs_of([1, 0, 0, 3]), [1, 2, 3]) in ([0, 1, 3], [0, 2, 3])


def test_a_text_longer_than_the_frames_has_no_place() -> None:
    assert align(logs_of([1, 2]), [1, 2, 3]) is None


def test_a_collage_says_any_text_of_heard_syllables() -> None:
    collage = Collage()
    states = torch.arange(9, dtype=torch.float32)[:, None].expand(9, 4)
    collage.learn("银行好", [1, 2, 3], states, torch.from_numpy(logs_of([0, 1, 0, 0, 2, 0, 0, 3, 0])))
    assert collage.can_say("好银行")
    assert not collage.can_say("你好")
    said = collage.say("号航", np.random.default_rng(0)) if collage.can_say("号航") else None
    assert said is None, "another tone is another syllable"
    heard = collage.say("好银", np.random.default_rng(0))
    assert heard[:, 0].tolist() == [6, 7, 8, 0, 1, 2]
