"""The chat format of the native family."""

from collections.abc import Sequence

from services.llm.prompt import Message, Prompt, lay_out
from services.llm.tokenizer import Tokenizer


class NativeChat(Tokenizer):
    """The native template over the native tokenizer; it thinks only when asked to."""

    def lay_out(self, messages: Sequence[Message], *, enable_thinking: bool | None = None) -> Prompt:
        """Tokens up to where the assistant speaks (or thinks) next."""
        return lay_out(messages, self, enable_thinking=bool(enable_thinking))
