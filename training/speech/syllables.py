"""How each character is read: its syllable with tone, without, its initial, and its final with tone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from pypinyin import Style, lazy_pinyin, pinyin

PARTS = 4


@cache
def readings(text: str) -> tuple[str, ...]:
    """One syllable with a tone number for each character, as the words around it ask: 银行 is yin2 hang2."""
    return tuple(lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True))


@dataclass(frozen=True)
class Syllables:
    """Numbers for syllables and for the parts of characters' readings."""

    index: dict[str, int]
    """Syllable with tone to class; 0 is left to the blank."""
    parts: tuple[tuple[int, ...], ...]
    """For each character of the vocabulary, `PARTS` rows of a table."""
    part_count: int

    @classmethod
    def of(cls, characters: Sequence[str]) -> "Syllables":
        """Built from the vocabulary alone, so that it is the same wherever it is built."""
        names: dict[str, int] = {}
        every = {
            reading
            for character in characters
            if len(character) == 1
            for reading in pinyin(character, style=Style.TONE3, heteronym=True, neutral_tone_with_five=True)[
                0
            ]
        }
        parts = tuple(
            tuple(names.setdefault(part, len(names)) for part in _parts(character))
            for character in characters
        )
        return cls({name: i for i, name in enumerate(sorted(every), 1)}, parts, len(names))

    def classes(self, text: str) -> list[int] | None:
        """The text's syllables; None when one is unknown."""
        found = [self.index.get(reading, 0) for reading in readings(text)]
        return found if all(found) and len(found) == len(text) else None


def _parts(character: str) -> tuple[str, ...]:
    if len(character) != 1:  # boundary, padding, unknown
        return tuple(f"{character}/{place}" for place in range(PARTS))
    (syllable,) = readings(character)
    (initial,) = lazy_pinyin(character, style=Style.INITIALS, strict=False)
    (final,) = lazy_pinyin(character, style=Style.FINALS_TONE3, strict=False, neutral_tone_with_five=True)
    return syllable, f"plain/{syllable[:-1]}", f"initial/{initial}", f"final/{final}"
