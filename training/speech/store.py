"""A growing collection of spoken clips: one file of samples, one line of JSON for each clip.

Appended to while others read, so that training may start before the last sentence is spoken.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Spoken:
    """A clip: what is said, by whom, what it may be used for, and where its samples lie."""

    text: str
    voice: str
    split: str  # train, tune or held_out
    kind: str  # sentence, words or question
    start: int = 0
    samples: int = 0


class Store:
    """`NAME.s16` (16 kHz, int16) and `NAME.jsonl` in one folder."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._sound = folder / f"{name}.s16"
        self._index = folder / f"{name}.jsonl"

    def clips(self) -> list[Spoken]:
        """Every clip that is complete; a line cut off by a crash is left out."""
        return list(self._lines())

    def append(self, clip: Spoken, samples: np.ndarray) -> None:
        """Adds a clip: samples first, so that no line speaks of sound that is not there."""
        with self._sound.open("ab") as sound:
            start = sound.tell() // 2
            sound.write(samples.astype("<i2").tobytes())
        placed = asdict(clip) | {"start": start, "samples": len(samples)}
        with self._index.open("a", encoding="utf-8") as index:
            index.write(json.dumps(placed, ensure_ascii=False) + "\n")

    def read(self, clip: Spoken) -> np.ndarray:
        """int16 [samples]."""
        return np.fromfile(self._sound, "<i2", count=clip.samples, offset=2 * clip.start)

    def _lines(self) -> Iterator[Spoken]:
        if not self._index.exists():
            return
        with self._index.open(encoding="utf-8") as index:
            for line in index:
                if line.endswith("\n"):
                    yield Spoken(**json.loads(line))
