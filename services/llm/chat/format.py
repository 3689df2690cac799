"""What the service asks of a chat format, whichever family the backbone is of."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.llm.prompt import Message, Prompt
from services.llm.vocabulary import Mark


class ChatError(ValueError):
    """A conversation that the template cannot lay out; the message says why."""


class ChatFormat(Protocol):
    """Lays conversations out in tokens, and knows what the tokens of an answer stand for."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def longest_token(self) -> int:
        """UTF-8 bytes that a token stands for at most."""

    @property
    def marks(self) -> Mapping[int, Mark]:
        """Tokens that lead from content to reasoning and back."""

    def bytes_of(self, token_id: int) -> bytes:
        """UTF-8 bytes a token adds to the answer; empty for those that are not shown."""

    def name_of(self, token_id: int) -> bytes:
        """UTF-8 bytes a token is written with, shown or not."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the ids as an answer would show it."""

    def lay_out(self, messages: Sequence[Message], *, enable_thinking: bool | None = None) -> Prompt:
        """Tokens up to where the assistant speaks next. Raises `ChatError`."""
