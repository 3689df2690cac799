"""A question about pictures, and what may be answered."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """A question with every answer that would do; `thoughts` go before the answers of the same place.

    `pictures` come with the question; the first question of a conversation has at least one.
    """

    question: str
    answers: tuple[str, ...]
    thoughts: tuple[str, ...]
    pictures: int = 0
