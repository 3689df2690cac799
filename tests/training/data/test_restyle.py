"""Another finish leaves the thing what it is."""

import random

import pytest

from tests.training.data.drawings import disc
from training.data.icons import colour_of
from training.data.restyle import restyle


@pytest.mark.parametrize("colour", [(220, 30, 30), (40, 90, 220), (60, 170, 60), (240, 210, 40)])
def test_a_colour_keeps_its_name(colour: tuple[int, int, int]) -> None:
    kept = [colour_of(restyle(disc(colour), random.Random(seed))) for seed in range(100)]
    assert kept.count(colour_of(disc(colour))) >= 95


def test_finishes_differ_and_come_again_with_the_seed() -> None:
    finished = [restyle(disc((220, 30, 30)), random.Random(seed)).tobytes() for seed in range(30)]
    again = [restyle(disc((220, 30, 30)), random.Random(seed)).tobytes() for seed in range(30)]
    assert finished == again
    assert len(set(finished)) > 15
