"""Characters that sound alike share weights; folding gives the head that was trained."""

import torch

from services.speech.model.config import SpeechConfig
from services.speech.model.decoder import SpeechDecoder
from training.speech.head import SharedHead
from training.speech.syllables import PARTS, Syllables, readings

CHARACTERS = ["<S/S>", "<PAD>", "<UNK>", *"红洪好号"]
SYLLABLES = Syllables.of(CHARACTERS)


def head() -> SharedHead:
    torch.manual_seed(0)
    return SharedHead(SpeechDecoder(SpeechConfig.tiny(len(CHARACTERS))), SYLLABLES)


def test_words_decide_readings() -> None:
    assert readings("银行") == ("yin2", "hang2")
    assert readings("行走") == ("xing2", "zou3")


def test_homophones_have_the_same_parts_and_others_share_some() -> None:
    red, flood, good, number = (SYLLABLES.parts[CHARACTERS.index(name)] for name in "红洪好号")
    assert red == flood
    assert len(set(good) & set(number)) == 2  # the plain syllable and the initial; the tone differs
    assert not set(red) & set(good) - {red[2]}
    assert all(len(parts) == PARTS for parts in SYLLABLES.parts)


def test_classes_are_one_based_and_refuse_the_unknown() -> None:
    classes = SYLLABLES.classes("红好")
    assert classes is not None
    assert min(classes) >= 1
    assert SYLLABLES.classes("猫") is None


def test_learning_a_sound_moves_its_homophones_alike() -> None:
    shared = head()
    weight_VD, _ = shared()
    weight_VD[CHARACTERS.index("红")].sum().backward()
    gradient = shared.parts.weight.grad
    assert gradient is not None
    assert gradient[list(SYLLABLES.parts[CHARACTERS.index("洪")])].abs().min() > 0


def test_the_blank_alone_has_a_bias_of_its_own() -> None:
    shared = head()
    with torch.no_grad():
        shared.blank_bias.fill_(3)
    _, bias_V = shared()
    moved = bias_V - shared.known_bias_V
    assert moved.tolist() == [3.0, *[0.0] * (len(CHARACTERS) - 1)]


def test_a_folded_head_is_taken_up_again_with_little_of_it_its_own() -> None:
    torch.manual_seed(1)
    folded, again = head(), head()
    for parameter in (folded.mapped_DD, folded.parts.weight, folded.blank_bias):
        torch.nn.init.normal_(parameter)
    again.unfold(*folded())
    for one, other in zip(again(), folded(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert again.own_VD.norm() < 0.5 * folded()[0].norm()
