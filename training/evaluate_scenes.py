"""Scores what a bundle sees in rendered scenes, drawn in a style that training never used."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.icons import draw_all
from training.data.pairs import Known
from training.data.scene_questions import NUMBERS, answer_want
from training.data.scenes import PLACES, Scene, SceneMaker
from training.data.things import THINGS, Thing
from training.pipeline import Pipeline, Question
from training.scores import names_in

SCENES = 300
FIRST_SEED = 1_000_000
DESCRIBE = "描述这张图片。"
ENGLISH = (
    "What is in this picture?",
    "Describe the photo, please.",
    "Could you tell me what this shows?",
    "What do you see here?",
    "Please say in one sentence what is in the image.",
)


Check = Callable[[str], bool]


@dataclass(frozen=True)
class Probe:
    """A question, the scenes it is about, and how to tell a right answer."""

    skill: str
    question: str
    scenes: tuple[int, ...]
    is_right: Check
    truth: str


def evaluate_scenes(
    pipeline: Pipeline, icons: Path, style: str
) -> tuple[dict[str, float], list[tuple[str, str, str]]]:
    """Scores in percent by skill in one drawing style, and (asked, said, truth) of every question."""
    maker = SceneMaker(draw_all(icons, (style,)), (style,))
    made = [maker.make(FIRST_SEED + index) for index in range(SCENES)]
    scenes = [scene for _, scene in made]
    images = pipeline.encode([picture for picture, _ in made])
    probes = [probe for index, scene in enumerate(scenes) for probe in _probes(index, scene)]
    probes += _pairs(scenes)
    said = pipeline.answer([Question((p.question,), p.scenes) for p in probes], images)
    scores = {
        f"drawn_{skill}": 100 * sum(hits) / len(hits)
        for skill in dict.fromkeys(probe.skill for probe in probes)
        if (hits := [p.is_right(text) for p, text in zip(probes, said, strict=True) if p.skill == skill])
    }
    described = pipeline.answer([Question((DESCRIBE,), (i,)) for i in range(SCENES)], images)
    scores |= _precision_and_recall(scenes, described)
    samples = [
        (f"scene {p.scenes} {p.question}", text, p.truth) for p, text in zip(probes, said, strict=True)
    ]
    return scores, samples


def says(*words: str) -> Check:
    """Every one of the words."""
    return lambda text: all(word in text for word in words)


def begins(start: str) -> Check:
    """With this, and nothing before it."""
    return lambda text: text.startswith(start)


def is_english(text: str) -> bool:
    """No Chinese in it, and more than a word."""
    return text.isascii() and len(text) > 5


def _precision_and_recall(scenes: Sequence[Scene], said: Sequence[str]) -> dict[str, float]:
    names = [thing.name for thing in THINGS]
    told = [set(names_in(text, names)) for text in said]
    true = [{thing.name for thing in scene.things} for scene in scenes]
    hits = sum(len(t & s) for t, s in zip(true, told, strict=True))
    return {
        "drawn_precision": 100 * hits / max(1, sum(map(len, told))),
        "drawn_recall": 100 * hits / sum(map(len, true)),
    }


def _probes(index: int, scene: Scene) -> list[Probe]:
    """One question of each kind that the scene allows."""
    rng = random.Random(FIRST_SEED + index)
    at = (index,)
    probes = []
    single = [group for group in scene.groups if len(scene.of(group.thing)) == 1]
    coloured = [group for group in single if group.colour]
    if coloured:
        group = rng.choice(coloured)
        colour, name = group.colour or "", group.thing.name
        probes.append(Probe("colour", f"{name}是什么颜色的？", at, says(colour), colour))
    alone = [group for group in single if group.count == 1]
    if alone:
        group = rng.choice(alone)
        place, thing = PLACES[group.places[0]], group.thing
        probes.append(Probe("position", f"{thing.name}在哪里？", at, says(place), place))
        wanted = f"我想要那{thing.measure}{thing.name}"
        truth = answer_want(scene, thing, None)
        probes.append(Probe("wanted", wanted, at, says(thing.name, place), truth))
    thing = rng.choice(scene.groups).thing
    number = NUMBERS[sum(group.count for group in scene.of(thing))] + thing.measure
    probes.append(Probe("count", f"图里有几{thing.measure}{thing.name}？", at, says(number), number))
    absent = _absent(scene, rng)
    probes.append(Probe("absent", f"图里有没有{absent.name}？", at, begins("没有"), "没有"))
    probes.append(Probe("present", f"图里有没有{thing.name}？", at, begins("有"), "有"))
    probes.append(Probe("english", rng.choice(ENGLISH), at, is_english, "an answer in English"))
    return probes


def _pairs(scenes: Sequence[Scene]) -> list[Probe]:
    """Which of two pictures shows a thing, over neighbouring scenes."""
    probes = []
    for index in range(0, len(scenes) - 1, 2):
        rng = random.Random(index)
        first, second = Known.of(scenes[index]), Known.of(scenes[index + 1])
        place = rng.choice(("第一张", "第二张"))
        own, other = (first, second) if place == "第一张" else (second, first)
        if names := sorted(own.there - other.perhaps):
            question = f"哪张里有{rng.choice(names)}？"
            probes.append(Probe("which_picture", question, (index, index + 1), begins(place), place))
    return probes


def _absent(scene: Scene, rng: random.Random) -> Thing:
    return rng.choice([thing for thing in THINGS if thing not in scene.things])
