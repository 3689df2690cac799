"""Phrases earn a boost for each character, and lose it when they break off."""

import itertools

from services.speech.phrases import PhraseMachine

A, B, C, D = 3, 4, 5, 6


def earned(machine: PhraseMachine, text: list[int]) -> float:
    """What a whole text earns, its end included."""
    state, total = 0, 0.0
    for character in text:
        plain, special = machine.bonuses(state)
        total += special.get(character, plain)
        state = machine.advance(state, character)
    return total + machine.bonuses(state)[0]


def test_a_phrase_earns_its_boost_for_each_character() -> None:
    assert earned(PhraseMachine([([A, B, C], 2.0)]), [D, A, B, C, D]) == 6.0


def test_a_phrase_that_breaks_off_earns_nothing() -> None:
    machine = PhraseMachine([([A, B, C], 2.0)])
    for text in ([A], [A, B], [A, B, D], [D, A, B], [A, A, B]):
        assert earned(machine, text) == 0.0


def test_a_phrase_may_begin_inside_another_one() -> None:
    machine = PhraseMachine([([A, B, C], 1.0), ([B, D], 5.0)])
    assert earned(machine, [A, B, D]) == 10.0


def test_a_longer_phrase_keeps_what_a_shorter_one_earned() -> None:
    machine = PhraseMachine([([A, B], 1.0), ([A, B, C, D], 1.0)])
    assert earned(machine, [A, B, C]) == 2.0
    assert earned(machine, [A, B, C, D]) == 4.0


def test_a_negative_boost_makes_a_phrase_less_likely() -> None:
    assert earned(PhraseMachine([([A, B], -1.0)]), [A, B]) == -2.0


def test_a_text_without_phrases_earns_nothing_whatever_its_order() -> None:
    machine = PhraseMachine([([A, B, C, D], 3.0)])
    for text in itertools.permutations([A, B, C]):
        assert earned(machine, list(text)) == 0.0


def test_the_order_of_phrases_makes_no_difference() -> None:
    phrases = [([A, B, C], 1.0), ([A, B, D], 5.0), ([A, B], 2.0), ([B, C, D], 3.0)]
    texts = list(itertools.product([A, B, C, D], repeat=4))
    expected = [earned(PhraseMachine(phrases), list(text)) for text in texts]
    for order in itertools.permutations(phrases):
        assert [earned(PhraseMachine(order), list(text)) for text in texts] == expected


def test_what_two_phrases_share_is_taken_back_in_full() -> None:
    machine = PhraseMachine([([A, B, C], 1.0), ([A, B, D], 5.0)])
    assert earned(machine, [A, B, A]) == 0.0
    assert earned(machine, [A, B, D]) == 15.0
