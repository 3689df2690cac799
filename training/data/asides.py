"""Small talk in a conversation about a picture, or a name told first and asked for at the end."""

import random
from dataclasses import replace

from training.data import phrases as p
from training.data.dialogues import DialogueSource
from training.data.turns import Turn


def with_aside(turns: list[Turn], dialogues: DialogueSource, rng: random.Random) -> list[Turn]:
    """The same conversation, with something else said after its first turn, or at its end."""
    if rng.random() < 0.35 and not turns[0].question.isascii():
        return _introduced(turns, rng)
    question, reply, thought = dialogues.remark(rng)
    aside = Turn(question, (reply,), (thought,))
    return [turns[0], aside, *turns[1:]] if rng.random() < 0.5 else [*turns, aside]


def _introduced(turns: list[Turn], rng: random.Random) -> list[Turn]:
    """Who asks says a name first, and asks for it at the end."""
    name = rng.choice(p.NAMES)
    first = turns[0]
    greeted = rng.choice(p.TELLING_NAME_FIRST).format(x=name) + "，" + first.question
    told = replace(first, question=greeted)
    asked = Turn(rng.choice(p.OWN_NAME), (f"你叫{name}。",), (f"用户说过自己叫{name}。",))
    return [told, *turns[1:], asked]
