"""Speech as the language model gets it from the recogniser, imitated: characters it is not quite sure of.

The speech service sends, per character heard, the recogniser's posterior times the embeddings of the
characters. Here a question is heard with slips, now few, now many: a homophone, something that sounds nearly
like it, or anything at all takes some of the weight, or most of it.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pypinyin import Style, lazy_pinyin

MISHEARD = (0.02, 0.08, 0.15, 0.3)  # share of the characters, one of these a question
UNSURE = 0.25
DROPPED = 0.1  # of the misheard ones
HOMOPHONE, NEARLY = 0.6, 0.9  # cumulative shares of the other misheard ones; above the last, anything
_SPOKEN = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Heard:
    """One character: the likeliest, another that sounds alike, and the weight of the former."""

    character: str
    other: str
    weight: float


class Hearing:
    """Turns written questions into heard ones."""

    def __init__(self, characters: Iterable[str]):
        self._spoken = sorted({one for one in characters if _SPOKEN.match(one)})
        self._alike: defaultdict[str, list[str]] = defaultdict(list)
        self._nearly: defaultdict[str, list[str]] = defaultdict(list)
        for character in self._spoken:
            self._alike[_sound(character)].append(character)
            self._nearly[_slurred(_sound(character))].append(character)

    @staticmethod
    def can_be_spoken(text: str) -> bool:
        """Mandarin alone, and not too little of it."""
        return len(_SPOKEN.findall(text)) >= 3 and not re.search(r"[A-Za-z0-9]", text)

    def hear(self, text: str, rng: random.Random) -> list[Heard]:
        """What of `text` reaches the language model; punctuation does not."""
        heard = []
        misheard = rng.choice(MISHEARD)
        for character in _SPOKEN.findall(text):
            slip = rng.random()
            if slip < misheard * DROPPED:
                continue
            if slip < misheard:
                heard.append(Heard(self._instead(character, rng), character, rng.uniform(0.5, 1.0)))
            else:
                other = rng.choice(self._alike[_sound(character)] or [character])
                weight = rng.uniform(0.5, 1.0) if rng.random() < UNSURE else 1.0
                heard.append(Heard(character, other, weight))
        return heard or [Heard(text[0], text[0], 1.0)]

    def _instead(self, character: str, rng: random.Random) -> str:
        kind = rng.random()
        if kind < HOMOPHONE:
            alike = self._alike[_sound(character)]
        else:
            alike = self._nearly[_slurred(_sound(character))] if kind < NEARLY else self._spoken
        return rng.choice(alike or [character])


def _sound(character: str) -> str:
    return lazy_pinyin(character, style=Style.NORMAL)[0]


def _slurred(sound: str) -> str:
    """What is left of it where n and l, flat and curled tongue, front and back nasals are one."""
    flat = re.sub("^([zcs])h", r"\1", sound)
    return re.sub("ng$", "n", re.sub("^n", "l", flat))
