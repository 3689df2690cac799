"""What is asked: sessions drawn from a seed, the same for every server that is compared."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

from benchmarks.client import Message, user
from benchmarks.pictures import photos

TURNS = 4
SYSTEM_LENGTH = 16  # times as long as a question
PICTURE_SIDES = (448, 336)
TEXT = (
    "what is the time in a far town and who knows how to get there by train or on foot before it rains "
    "tell me about old maps new shoes three green birds some bread two rivers one red boat and a quiet street"
)


@dataclass(frozen=True)
class Session:
    """What one user says, turn by turn, each with the answers before it; perhaps under a system prompt."""

    turns: tuple[Message, ...]
    system: str = ""

    @property
    def opening(self) -> list[Message]:
        """Messages before the first turn."""
        return [{"role": "system", "content": self.system}] if self.system else []


Trace = Callable[[int, int], Iterator[Session]]


def chat(length: int, seed: int) -> Iterator[Session]:
    """One short question each, no two alike."""
    draw = random.Random(f"chat {seed}")
    while True:
        yield Session((user(_words(draw, length)),))


def turns(length: int, seed: int) -> Iterator[Session]:
    """Conversations of a few turns."""
    draw = random.Random(f"turns {seed}")
    while True:
        yield Session(tuple(user(_words(draw, length)) for _ in range(TURNS)))


def system(length: int, seed: int) -> Iterator[Session]:
    """One question each under one long system prompt."""
    draw = random.Random(f"system {seed}")
    shared = _words(draw, SYSTEM_LENGTH * length)
    while True:
        yield Session((user(_words(draw, length)),), shared)


def picture(length: int, seed: int) -> Iterator[Session]:
    """One question each about a photo, no two alike."""
    draw = random.Random(f"picture {seed}")
    for file in photos(*PICTURE_SIDES, seed):
        yield Session((user(_words(draw, length), file),))


TRACES: Mapping[str, Trace] = MappingProxyType(
    {"chat": chat, "turns": turns, "system": system, "picture": picture}
)


def sessions(trace: str, count: int, length: int, seed: int) -> list[Session]:
    """`count` sessions with questions of `length` characters; KeyError for a trace that does not exist."""
    return list(islice(TRACES[trace](length, seed), count))


def _words(draw: random.Random, length: int) -> str:
    """Words cut to a length: with a token per byte, as in our random checkpoints, that many tokens."""
    text = " ".join(draw.choices(TEXT.split(), k=1 + length // 2))
    return text[:length]
