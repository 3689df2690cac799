"""What a decoder of answers must know about tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol


class Channel(Enum):
    """Where a piece of the answer belongs."""

    CONTENT = auto()
    REASONING = auto()


@dataclass(frozen=True)
class Mark:
    """A token that leads to a channel; `text` is how it is shown among raw text, if at all."""

    channel: Channel
    text: str


class Vocabulary(Protocol):
    """Tokens and what they stand for."""

    @property
    def marks(self) -> Mapping[int, Mark]: ...

    def bytes_of(self, token_id: int) -> bytes: ...
