"""A heard question is mostly right, and its slips sound like what was said."""

import random

from training.data.hearing import Heard, Hearing

TEXT = "图里有没有红色的苹果"
CHARACTERS = "图里有没红色的苹果突理友美洪德平国林利年连"


def slips(seeds: int) -> list[tuple[str, Heard]]:
    hearing = Hearing(CHARACTERS)
    pairs = []
    for seed in range(seeds):
        heard = hearing.hear(TEXT, random.Random(seed))
        if len(heard) == len(TEXT):
            pairs += list(zip(TEXT, heard, strict=True))
    return pairs


def test_one_character_in_ten_or_so_is_misheard() -> None:
    pairs = slips(400)
    wrong = sum(said != heard.character for said, heard in pairs) / len(pairs)
    assert 0.05 < wrong < 0.15


def test_most_slips_sound_alike_and_a_few_are_anything() -> None:
    wrong = {(said, heard.character) for said, heard in slips(400) if said != heard.character}
    assert ("里", "理") in wrong  # a homophone
    assert ("有", "年") in wrong  # anything
    assert all(0.5 <= heard.weight <= 1 for _, heard in slips(20))


def test_what_is_left_of_a_misheard_character_goes_to_the_one_that_was_said() -> None:
    assert all(heard.other == said for said, heard in slips(100) if heard.character != said)


def test_latin_letters_and_digits_are_not_spoken() -> None:
    assert Hearing.can_be_spoken(TEXT)
    assert not Hearing.can_be_spoken("你是ChatGPT吗")
    assert not Hearing.can_be_spoken("好")
