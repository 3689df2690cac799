"""A question about pictures, and what may be answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Places = tuple[int, ...]


@dataclass(frozen=True)
class Turn:
    """A question with every answer that would do; `thoughts` go before the answers of the same place.

    `pictures` come with the question; the first question of a conversation has at least one.
    `seen_at` tells where the answer is to be seen: nine places a picture, in their order; None: not known.
    `shown` tells the same of phrases in it: where one stands in an answer or a thought, its places count.
    """

    question: str
    answers: tuple[str, ...]
    thoughts: tuple[str, ...]
    pictures: int = 0
    seen_at: Places | None = None
    shown: Mapping[str, Places] = field(default_factory=dict)
