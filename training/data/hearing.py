"""Speech as the language model gets it from the recogniser, imitated: characters it is not quite sure of.

The speech service sends, per character heard, the recogniser's posterior times the embeddings of the
characters. Here a question is heard with slips: a homophone with some of the weight, or with most of it.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pypinyin import Style, lazy_pinyin

SURE, MISHEARD, DROPPED = 0.75, 0.1, 0.01
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
        self._alike: defaultdict[str, list[str]] = defaultdict(list)
        for character in sorted(set(characters)):
            if _SPOKEN.match(character):
                self._alike[_sound(character)].append(character)

    @staticmethod
    def can_be_spoken(text: str) -> bool:
        """Mandarin alone, and not too little of it."""
        return len(_SPOKEN.findall(text)) >= 3 and not re.search(r"[A-Za-z0-9]", text)

    def hear(self, text: str, rng: random.Random) -> list[Heard]:
        """What of `text` reaches the language model; punctuation does not."""
        heard = []
        for character in _SPOKEN.findall(text):
            slip = rng.random()
            if slip < DROPPED:
                continue
            other = rng.choice(self._alike[_sound(character)] or [character])
            if slip < DROPPED + MISHEARD:
                heard.append(Heard(other, character, rng.uniform(0.6, 0.95)))
            elif slip < SURE:
                heard.append(Heard(character, other, 1.0))
            else:
                heard.append(Heard(character, other, rng.uniform(0.5, 1.0)))
        return heard or [Heard(text[0], text[0], 1.0)]


def _sound(character: str) -> str:
    return lazy_pinyin(character, style=Style.NORMAL)[0]
