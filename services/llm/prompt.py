"""The native chat template: messages to one row of token ids, media spans marked.

A turn is its role token, a line break, and the parts in order; a picture stands between a begin and an
end token. `[gMASK]<sop>` opens the conversation, `<|assistant|>` and a line break ask for the answer.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from services.llm import tokenizer as t
from services.llm.model.fusion import Modality, Piece
from services.llm.tokenizer import Tokenizer
from services.llm.vocabulary import Channel, Mark


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = t.SYSTEM
    USER = t.USER
    ASSISTANT = t.ASSISTANT


@dataclass(frozen=True)
class Text:
    """Something written."""

    text: str


@dataclass(frozen=True)
class Media:
    """Something seen or heard; `key` names the embedding that takes its place.

    grid_thw: patches of a picture in time, height and width, for backbones that place its tokens by them.
    written: what a text reader found in the picture, told to the native family after its tokens.
    """

    modality: Modality
    token_count: int
    key: bytes
    grid_thw: tuple[int, int, int] | None = None
    written: str = ""


@dataclass(frozen=True)
class Message:
    """One turn; the order of its parts is kept."""

    role: Role
    parts: tuple[Text | Media, ...]

    @property
    def media(self) -> tuple[Media, ...]:
        return tuple(part for part in self.parts if isinstance(part, Media))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the whole content, each part framed by its kind and length."""
        sha = hashlib.sha256()
        for part in self.parts:
            kind, body = (b"t", part.text.encode()) if isinstance(part, Text) else (b"m", part.key)
            sha.update(kind + len(body).to_bytes(8) + body)
        return sha.digest()


@dataclass(frozen=True)
class MediaSpan:
    """Where one medium stands in the prompt: tokens `start` to `end`."""

    media: Media
    start: int
    end: int


@dataclass
class Prompt:
    """A conversation laid out in tokens.

    spans: media in order of appearance. pieces: what the gate weighs, per message.
    salts: token index -> digest, at the first token of each message whose embeddings depend on its media;
    a cache of keys and values must take them into its block hashes. opening: the mark with which the answer
    begins, because the prompt ends with it.
    """

    token_ids: list[int] = field(default_factory=list)
    spans: list[MediaSpan] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    salts: dict[int, bytes] = field(default_factory=dict)
    opening: Mark | None = None


WRITTEN = "图中文字：{}\n"
LINE_BREAK = " "
MAX_WRITTEN = 300  # characters; a printed label has about half as many

_FRAME = {
    Modality.IMAGE: (t.BEGIN_IMAGE, t.IMAGE, t.END_IMAGE),
    Modality.AUDIO: (t.BEGIN_AUDIO, t.AUDIO, t.END_AUDIO),
}


def lay_out(messages: Sequence[Message], tokenizer: Tokenizer, *, enable_thinking: bool = False) -> Prompt:
    """Tokens of the conversation, up to where the assistant speaks (or thinks) next."""
    prompt = Prompt([tokenizer.special(name) for name in t.BEGIN])
    for index, message in enumerate(messages):
        if message.media:
            prompt.salts[len(prompt.token_ids)] = message.digest
        prompt.token_ids += [tokenizer.special(message.role), *tokenizer.encode("\n")]
        for part in message.parts:
            _append(prompt, index, message.role, part, tokenizer)
    prompt.token_ids += [tokenizer.special(t.ASSISTANT), *tokenizer.encode("\n")]
    if enable_thinking:
        prompt.token_ids.append(tokenizer.special(t.THINK))
        prompt.opening = Mark(Channel.REASONING, t.THINK)
    return prompt


def written_in(lines: Iterable[str]) -> str:
    """Lines of a picture as the model was taught to read them; what goes beyond MAX_WRITTEN is left out."""
    return LINE_BREAK.join(" ".join(line.split()) for line in lines)[:MAX_WRITTEN]


def _append(prompt: Prompt, index: int, role: Role, part: Text | Media, tokenizer: Tokenizer) -> None:
    ids = prompt.token_ids
    if isinstance(part, Text):
        start = len(ids)
        ids += tokenizer.encode(part.text)
        if role is Role.USER and len(ids) > start:
            prompt.pieces.append(Piece(index, Modality.TEXT, start, len(ids)))
        return
    begin, token, end = _FRAME[part.modality]
    ids.append(tokenizer.special(begin))
    span = MediaSpan(part, len(ids), len(ids) + part.token_count)
    ids += [tokenizer.special(token)] * part.token_count
    ids.append(tokenizer.special(end))
    prompt.spans.append(span)
    prompt.pieces.append(Piece(index, part.modality, span.start, span.end))
    if part.written:
        ids += tokenizer.encode(WRITTEN.format(part.written))
