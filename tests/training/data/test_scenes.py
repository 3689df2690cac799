"""Rendered scenes show what they say, and questions about them have true answers."""

import random

import numpy as np
import pytest

from tests.training.data.drawings import disc
from training.data.icons import colour_of, tint
from training.data.scene_questions import answer_want, ask_scene, want
from training.data.scenes import GRID, PLACES, SIDE, Group, Scene, SceneMaker
from training.data.things import THINGS

CAR = next(thing for thing in THINGS if thing.name == "汽车")
DOG = next(thing for thing in THINGS if thing.name == "狗")


@pytest.fixture
def maker() -> SceneMaker:
    drawings = {("plain", thing.name): disc((200, 20, 20)) for thing in THINGS}
    return SceneMaker(drawings, ("plain",))


def test_the_same_seed_gives_the_same_scene(maker: SceneMaker) -> None:
    (picture, scene), (again, same) = maker.make(7), maker.make(7)
    assert scene == same
    assert np.array_equal(np.asarray(picture), np.asarray(again))


def test_things_stand_where_the_scene_says(maker: SceneMaker) -> None:
    cell = SIDE // GRID
    for seed in range(20):
        picture, scene = maker.make(seed)
        pixels = np.asarray(picture).astype(int)
        taken = {place for group in scene.groups for place in group.places}
        assert len(taken) == sum(group.count for group in scene.groups)
        for place in taken:
            row, column = divmod(place, GRID)
            middle = pixels[row * cell + 24 : row * cell + 40, column * cell + 24 : column * cell + 40]
            assert np.ptp(middle.mean(axis=(0, 1))) > 60  # a vivid colour, where the ground is pale


def test_a_scene_survives_its_json(maker: SceneMaker) -> None:
    _, scene = maker.make(3)
    assert Scene.from_dict(scene.to_dict()) == scene


@pytest.mark.parametrize(
    ("colour", "name"), [((220, 30, 30), "红色"), ((30, 60, 220), "蓝色"), ((20, 20, 20), "黑色")]
)
def test_colours_have_the_names_people_give_them(colour: tuple[int, int, int], name: str) -> None:
    assert colour_of(disc(colour)) == name


def test_a_turned_hue_is_another_colour() -> None:
    assert colour_of(tint(disc((220, 30, 30)), 1 / 3, 1.0)) == "绿色"


def test_who_wants_one_of_two_is_asked_which() -> None:
    scene = Scene((Group(CAR, "红色", (0,)), Group(CAR, "蓝色", (8,)), Group(DOG, None, (4,))))
    assert answer_want(scene, CAR, "蓝色") == "你指的是右下角那辆蓝色的汽车吗？"
    assert "左上角和右下角" in answer_want(scene, CAR, None)
    assert answer_want(scene, CAR, "绿色").startswith("图里没有绿色的汽车")


def test_who_wants_one_of_two_colours_is_shown_that_one_alone() -> None:
    scene = Scene((Group(CAR, "红色", (0,)), Group(CAR, "蓝色", (8,)), Group(DOG, None, (4,))))
    turns = [want(scene, random.Random(seed)) for seed in range(100)]
    asked = [turn for turn in turns if "蓝色的汽车" in turn.question]
    assert asked
    for turn in asked:
        assert turn.seen_at == (8,)
        assert CAR.name not in turn.shown, "the bare name would show both"


def test_no_answer_names_what_is_not_there(maker: SceneMaker) -> None:
    for seed in range(200):
        _, scene = maker.make(seed)
        for turn in ask_scene(scene, random.Random(seed)):
            for answer in turn.answers:
                named = {thing.name for thing in THINGS if thing.name in answer}
                there = {thing.name for thing in scene.things}
                if "没有" not in answer and "要不要" not in answer:
                    assert {n for n in named if not any(n in t for t in there)} <= set(), (answer, there)
                assert any(place in answer for place in PLACES) or "在" not in answer
