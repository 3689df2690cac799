"""Tokens to text while they come: whole characters, the right channel, nothing after a stop string."""

import codecs
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.llm.engine.request import Logprobs, Token
from services.llm.vocabulary import Channel, Mark, Vocabulary


@dataclass(frozen=True)
class Delta:
    """Newly decoded text, and the tokens read since the last delta.

    markup: what the model wrote to get into this channel; it comes before the text, and is part of neither.
    logprobs: one per token, where they were asked for.
    """

    channel: Channel
    text: str
    token_ids: tuple[int, ...]
    markup: str = ""
    logprobs: tuple[Logprobs, ...] = ()

    def can_join(self, later: "Delta") -> bool:
        """Whether both can be told as one."""
        return later.channel is self.channel and not later.markup

    def join(self, later: "Delta") -> "Delta":
        return Delta(
            self.channel,
            self.text + later.text,
            self.token_ids + later.token_ids,
            self.markup,
            self.logprobs + later.logprobs,
        )


class Detokenizer:
    """Reads one answer token by token.

    Bytes wait until they make a character, and text waits while it may be the beginning of a stop string.
    Stop strings count in the answer, not in the thinking before it. A mark that leads where the answer
    already is counts as text.
    """

    def __init__(self, vocabulary: Vocabulary, *, stop: Sequence[str] = (), opening: Mark | None = None):
        self._vocabulary, self._marks = vocabulary, vocabulary.marks
        self._stop = tuple(stop)
        self._channel = opening.channel if opening else Channel.CONTENT
        self._markup = opening.text if opening else ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._ids: list[int] = []
        self._logprobs: list[Logprobs] = []
        self.token_count = self.reasoning_tokens = 0
        self.stopped = False

    def read(self, tokens: Iterable[Token]) -> list[Delta]:
        """What can be said after several more tokens, in as few pieces as possible."""
        pieces: list[Delta] = []
        for token in tokens:
            for delta in self.push(token.token_id, token.logprobs):
                if pieces and pieces[-1].can_join(delta):
                    pieces[-1] = pieces[-1].join(delta)
                else:
                    pieces.append(delta)
        return pieces

    def push(self, token_id: int, logprobs: Logprobs | None = None) -> list[Delta]:
        """What can be said after one more token; once `stopped`, nothing more."""
        if self.stopped:
            return []
        self.token_count += 1
        self.reasoning_tokens += self._channel is Channel.REASONING
        mark = self._marks.get(token_id)
        if mark is None or mark.channel is self._channel:
            self._note(token_id, logprobs)
            return self._say(self._ready_text(self._decoder.decode(self._vocabulary.bytes_of(token_id))))
        # An unfinished character before a mark stays broken, as it is in the official servers' text.
        ready = self._ready_text(self._decoder.decode(b"", final=True))
        before = self._say(ready + self._rest())
        if self.stopped:
            return before
        self._channel, self._markup = mark.channel, mark.text
        self._note(token_id, logprobs)
        return before + self._say("")

    def flush(self) -> list[Delta]:
        """What was held back; the bytes of an unfinished character are dropped."""
        return self._say(self._rest(), even_silent=bool(self._ids))

    def _note(self, token_id: int, logprobs: Logprobs | None) -> None:
        self._ids.append(token_id)
        if logprobs is not None:
            self._logprobs.append(logprobs)

    def _rest(self) -> str:
        self._decoder.reset()
        text, self._held = self._held, ""
        return text

    def _say(self, text: str, *, even_silent: bool = False) -> list[Delta]:
        if not (text or self._markup or even_silent):
            return []
        delta = Delta(self._channel, text, tuple(self._ids), self._markup, tuple(self._logprobs))
        self._ids.clear()
        self._logprobs.clear()
        self._markup = ""
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
