"""Tokens to text while they come: whole characters, the right channel, nothing after a stop string."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from services.llm.tokenizer import END_THINK, THINK, Tokenizer


class Channel(Enum):
    """Where a piece of the answer belongs."""

    CONTENT = auto()
    REASONING = auto()


@dataclass(frozen=True)
class Delta:
    """Newly decoded text, and the tokens read since the last delta."""

    channel: Channel
    text: str
    token_ids: tuple[int, ...]


class Detokenizer:
    """Reads one answer token by token.

    Bytes wait until they make a character, and text waits while it may be the beginning of a stop string.
    Stop strings count in the answer, not in the thinking before it.
    """

    def __init__(self, tokenizer: Tokenizer, *, stop: Sequence[str] = (), thinking: bool = False):
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._channel = Channel.REASONING if thinking else Channel.CONTENT
        self._switches = {
            tokenizer.special(THINK): Channel.REASONING,
            tokenizer.special(END_THINK): Channel.CONTENT,
        }
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._ids: list[int] = []
        self.token_count = self.reasoning_tokens = 0
        self.stopped = False

    def push(self, token_id: int) -> list[Delta]:
        """What can be said after one more token; once `stopped`, nothing more."""
        if self.stopped:
            return []
        self.token_count += 1
        self.reasoning_tokens += self._channel is Channel.REASONING
        self._ids.append(token_id)
        if token_id in self._switches:
            deltas = self.flush()
            self._channel = self._switches[token_id]
            return deltas
        return self._say(self._ready_text(self._decoder.decode(self._tokenizer.bytes_of(token_id))))

    def flush(self) -> list[Delta]:
        """What was held back; the bytes of an unfinished character are dropped."""
        self._decoder.reset()
        text, self._held = self._held, ""
        return self._say(text)

    def _say(self, text: str) -> list[Delta]:
        if not text:
            return []
        delta = Delta(self._channel, text, tuple(self._ids))
        self._ids.clear()
        return [delta]

    def _ready_text(self, new: str) -> str:
        text = self._held + new
        if self._channel is Channel.REASONING:
            return text
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = len(text) - max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[keep:]
        return text[:keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
