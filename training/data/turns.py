"""A question about pictures, and what may be answered."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """A question with every answer that would do; `thoughts` go before the answers of the same place.

    `pictures` come with the question; the first question of a conversation has at least one.
    `seen_at` tells where the answer is to be seen: nine places a picture, in their order; None: not known.
    """

    question: str
    answers: tuple[str, ...]
    thoughts: tuple[str, ...]
    pictures: int = 0
    seen_at: tuple[int, ...] | None = None
