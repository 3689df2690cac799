"""What may be asked about a rendered scene in English, and what may be answered."""

import random
from collections.abc import Sequence

from training.data.icons import ENGLISH_COLOURS
from training.data.questions import DESCRIBE_IN_ENGLISH
from training.data.scenes import ENGLISH_PLACES, Group, Scene
from training.data.things import THINGS, Thing
from training.data.turns import Turn

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_COLOUR = ("What colour is the {x}?", "What color is the {x}?", "Which colour does the {x} have?")
_WHERE = ("Where is the {x}?", "Where can I find the {x}?", "Where in the picture is the {x}?")
_COUNT = ("How many {x} are there?", "How many {x} can you see?", "Count the {x}.")
_EXISTS = (
    "Is there a {x}?",
    "Can you see a {x}?",
    "Does the picture show a {x}?",
    "Is any {x} in the image?",
)


def ask_scene_in_english(scene: Scene, rng: random.Random) -> list[Turn]:
    """One turn about a scene."""
    return [rng.choice((describe, describe, colour, where, count, exists))(scene, rng)]


def describe(scene: Scene, rng: random.Random) -> Turn:
    """One sentence that names everything."""
    groups = scene.in_order
    verb = "are" if groups[0].count > 1 else "is"
    answer = f"There {verb} {_listed([phrase(group) for group in groups])}."
    shown = {phrase(group): group.places for group in groups}
    return Turn(rng.choice(DESCRIBE_IN_ENGLISH), (answer,), (_thought(groups),), shown=shown)


def colour(scene: Scene, rng: random.Random) -> Turn:
    """Asks only where the colour is clear."""
    clear = [g for g in scene.groups if g.colour and len(scene.of(g.thing)) == 1]
    if not clear:
        return describe(scene, rng)
    group = rng.choice(clear)
    answer = f"The {_name(group)} {_is(group)} {ENGLISH_COLOURS[group.colour or '']}."
    question = rng.choice(_COLOUR).format(x=_name(group))
    return Turn(question, (answer,), (_thought([group]),), seen_at=group.places)


def where(scene: Scene, rng: random.Random) -> Turn:
    """Asks for a thing that stands alone."""
    alone = [g for g in scene.groups if g.count == 1 and len(scene.of(g.thing)) == 1]
    if not alone:
        return describe(scene, rng)
    group = rng.choice(alone)
    answer = f"The {_name(group)} is {ENGLISH_PLACES[group.places[0]]}."
    question = rng.choice(_WHERE).format(x=_name(group))
    return Turn(question, (answer,), (_thought([group]),), seen_at=group.places)


def count(scene: Scene, rng: random.Random) -> Turn:
    """How many of one kind."""
    thing = rng.choice(scene.groups).thing
    total = sum(group.count for group in scene.of(thing))
    name = thing.plural if total > 1 else thing.english
    answer = f"There {'are' if total > 1 else 'is'} {NUMBERS[total]} {name}."
    question, thought = rng.choice(_COUNT).format(x=thing.plural), _thought(scene.of(thing))
    return Turn(question, (answer,), (thought,), seen_at=scene.places_of(thing))


def exists(scene: Scene, rng: random.Random) -> Turn:
    """Yes with the number, or an honest no."""
    thing = rng.choice([t for t in THINGS if t not in scene.things])
    if rng.random() < 0.5:
        question = rng.choice(_EXISTS).format(x=thing.english)
        answer = f"No, there is no {thing.english}."
        return Turn(question, (answer,), (_thought(scene.in_order),), seen_at=())
    thing = rng.choice(scene.groups).thing
    seen = _listed([phrase(group) for group in scene.of(thing)])
    verb = "are" if scene.of(thing)[0].count > 1 else "is"
    question = rng.choice(_EXISTS).format(x=thing.english)
    answer, places = f"Yes, there {verb} {seen}.", scene.places_of(thing)
    return Turn(question, (answer,), (_thought(scene.of(thing)),), seen_at=places)


def phrase(group: Group) -> str:
    """two brown dogs."""
    colour = f"{ENGLISH_COLOURS[group.colour]} " if group.colour else ""
    if group.count > 1:
        return f"{NUMBERS[group.count]} {colour}{group.thing.plural}"
    first = (colour or group.thing.english)[0]
    return f"{'an' if first in 'aeiou' else 'a'} {colour}{group.thing.english}"


def _name(group: Group) -> str:
    return group.thing.plural if group.count > 1 else group.thing.english


def _is(group: Group) -> str:
    return "are" if group.count > 1 else "is"


def _listed(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


def _thought(groups: Sequence[Group]) -> str:
    return f"I see {_listed([_plural(group.thing, group.count) for group in groups])}."


def _plural(thing: Thing, count: int) -> str:
    return thing.plural if count > 1 else thing.english
