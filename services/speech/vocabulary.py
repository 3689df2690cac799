"""The characters that the recogniser can write."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self


class Vocabulary:
    """Characters by index; marks that are no characters (boundary, padding, unknown) come in `<>`."""

    def __init__(self, characters: Sequence[str]):
        self.characters = tuple(characters)
        # The boundary, index 0, is a mark as well, but it may be written: it ends a text.
        self.marks = [i for i, name in enumerate(characters) if i and len(name) > 1 and name.startswith("<")]
        self._index = {name: i for i, name in enumerate(characters) if len(name) == 1}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a JSON list of strings; raises OSError or ValueError."""
        characters = json.loads(path.read_bytes())
        if not isinstance(characters, list) or not all(isinstance(name, str) for name in characters):
            raise ValueError("not a list of strings")
        return cls(characters)

    def __len__(self) -> int:
        return len(self.characters)

    def text(self, ids: Sequence[int]) -> str:
        """Indices as text."""
        return "".join(self.characters[index] for index in ids)

    def ids(self, text: str) -> list[int] | None:
        """The text as indices; None when it has a character that cannot be written."""
        ids = [self._index.get(character, -1) for character in text]
        return None if -1 in ids else ids
