"""The tokenizer of a published checkpoint: byte-level BPE with added tokens, read from tokenizer.json.

Three kinds of added tokens. Control tokens open turns and stand for media: only a template writes them, text
that looks like one stays text. Markup (`<think>`, `<answer>` and their ends) is one token wherever it is
written, as in the official servers: it opens no turn, and older answers come back with it. All others are
text like any other. Which of them an answer shows is another question: those that tokenizer.json does not
call special.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from services.llm.vocabulary import Channel, Mark

THINK, END_THINK = "<think>", "</think>"
MARKUP = frozenset({THINK, END_THINK, "<answer>", "</answer>"})
MEDIA = frozenset({"<|image|>", "<|video|>"})


class ByteLevelTokenizer:
    """Text to token ids and back."""

    def __init__(self, path: Path):
        """Raises ValueError for a file that holds no byte-level BPE."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not _is_byte_level(raw.get("decoder")):
            raise ValueError(f"{path} holds no byte-level tokenizer")
        added = {token["content"]: token for token in raw.get("added_tokens", ())}
        self._hidden = frozenset(token["id"] for token in added.values() if token["special"])
        for name, token in added.items():
            token["special"] = (token["special"] and name not in MARKUP) or name in MEDIA
        self.control = {name: int(token["id"]) for name, token in added.items() if token["special"]}
        self._added = {int(token["id"]): str(name) for name, token in added.items()}
        self._inner = tokenizers.Tokenizer.from_str(json.dumps(raw))
        self._inner.encode_special_tokens = True
        names = self._inner.get_vocab()  # one character a byte, but for added tokens
        self.longest_token = max(map(len, (*names, *map(str.encode, added))))

    @property
    def vocab_size(self) -> int:
        return int(self._inner.get_vocab_size())

    @cached_property
    def marks(self) -> Mapping[int, Mark]:
        """Empty where thoughts are written in plain text."""
        names = {THINK: Channel.REASONING, END_THINK: Channel.CONTENT}
        ids = {name: self._inner.token_to_id(name) for name in names}
        return {
            token_id: Mark(names[name], "" if token_id in self._hidden else name)
            for name, token_id in ids.items()
            if token_id is not None
        }

    def encode(self, text: str) -> list[int]:
        """Ids of a text; what looks like a control token stays text."""
        # A batch of one: unlike `encode`, it lets other threads run meanwhile.
        [encoding] = self._inner.encode_batch_fast([text], add_special_tokens=False)
        return list(encoding.ids)

    def bytes_of(self, token_id: int) -> bytes:
        """UTF-8 bytes a token adds to the answer; empty for special tokens."""
        return b"" if token_id in self._hidden else self.name_of(token_id)

    def name_of(self, token_id: int) -> bytes:
        """UTF-8 bytes a token is written with; empty where the vocabulary ends before the logits do."""
        added = self._added.get(token_id)
        if added is not None:
            return added.encode()
        token = self._inner.id_to_token(token_id)
        return bytes(_BYTES[character] for character in token or "")

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the ids; broken characters become U+FFFD, special tokens nothing."""
        return b"".join(map(self.bytes_of, token_ids)).decode("utf-8", errors="replace")


def _is_byte_level(decoder: dict[str, Any] | None) -> bool:
    return decoder is not None and (
        decoder["type"] == "ByteLevel" or any(map(_is_byte_level, decoder.get("decoders", ())))
    )


def _byte_characters() -> dict[str, int]:
    """Byte-level BPE writes each byte as a printable character: itself, or one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(0x100) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + place): byte for place, byte in enumerate(others)
    }


_BYTES = _byte_characters()
