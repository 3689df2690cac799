"""Two pictures in one conversation: side by side in one question, or one after the other."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from training.data.photo_facts import THINGS as PHOTO_THINGS
from training.data.photo_facts import agreed_things, things_in
from training.data.photos import Photo
from training.data.questions import DESCRIBE, ask
from training.data.scene_questions import describe
from training.data.scenes import PLACES, Scene
from training.data.things import THINGS
from training.data.turns import Turn

_WHICH = (
    "哪张里有{x}？",
    "哪张图里有{x}？",
    "哪一张有{x}？",
    "这两张图片，哪张里有{x}？",
    "{x}在哪张图里？",
    "哪张照片里能看到{x}？",
)
_NEXT = ("那这张呢？", "这张呢？", "这一张里有什么？", "再看看这张。", "那这张图片里有什么？", "下一张呢")


@dataclass(frozen=True)
class Known:
    """A picture and what may be said of it: names surely there, and all that might be."""

    picture: Photo | Scene
    there: frozenset[str]
    perhaps: frozenset[str]

    @classmethod
    def of(cls, picture: Photo | Scene) -> "Known":
        if isinstance(picture, Scene):
            names = frozenset(thing.name for thing in picture.things)
            return cls(picture, names, names)
        if picture.kind == "scene":
            return cls(picture, frozenset(agreed_things(picture)), frozenset(things_in(picture)))
        names = frozenset({picture.name}) if picture.name else frozenset()
        return cls(picture, names, names | {picture.coarse})

    def opening(self, rng: random.Random) -> Turn:
        """A description of it alone."""
        return describe(self.picture, rng) if isinstance(self.picture, Scene) else ask(self.picture, rng)[0]

    def places(self, name: str) -> Sequence[int]:
        """Where the thing may be seen: anywhere in a photo that has it."""
        if isinstance(self.picture, Scene):
            return [p for group in self.picture.groups if group.thing.name == name for p in group.places]
        return range(len(PLACES)) if name in self.there else ()


def ask_pair(first: Known, second: Known, rng: random.Random) -> list[Turn]:
    """A conversation about two pictures; `Turn.pictures` says where each comes in."""
    if rng.random() < 0.35:
        return _one_after_the_other(first, second, rng)
    answer = _which(first, second, rng)
    return [answer] if answer else _one_after_the_other(first, second, rng)


def _one_after_the_other(first: Known, second: Known, rng: random.Random) -> list[Turn]:
    before, after = first.opening(rng), second.opening(rng)
    question = rng.choice(_NEXT) if rng.random() < 0.6 else rng.choice(DESCRIBE[:-2])
    return [before, Turn(question, after.answers, after.thoughts, pictures=1)]


def _which(first: Known, second: Known, rng: random.Random) -> Turn | None:
    only_first, only_second = first.there - second.perhaps, second.there - first.perhaps
    both = first.there & second.there
    pool = [thing.name for thing in THINGS] if isinstance(first.picture, Scene) else list(PHOTO_THINGS)
    neither = set(pool) - first.perhaps - second.perhaps
    cases = (
        (only_first, "第一张。", "第一张里有{x}，第二张里没有。"),
        (only_second, "第二张。", "第二张里有{x}，第一张里没有。"),
        (both, "两张里都有{x}。", "两张里都有{x}。"),
        (neither, "两张里都没有{x}。", "两张里都没有{x}。"),
    )
    weights = [weight if names else 0 for weight, (names, _, _) in zip((4, 4, 2, 1), cases, strict=True)]
    if not any(weights[:3]):
        return None
    names, answer, thought = rng.choices(cases, weights)[0]
    name = rng.choice(sorted(names))
    question = rng.choice(_WHICH).format(x=name)
    seen_at = (*first.places(name), *(len(PLACES) + place for place in second.places(name)))
    return Turn(question, (answer.format(x=name),), (thought.format(x=name),), pictures=2, seen_at=seen_at)
