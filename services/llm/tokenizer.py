"""The native tokenizer: one token per character, bytes for the rest."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import tokenizers

from services.llm.vocabulary import Channel, Mark

BEGIN = ("[gMASK]", "<sop>")
SYSTEM, USER, ASSISTANT, OBSERVATION = "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"
END = "<|endoftext|>"
THINK, END_THINK = "<think>", "</think>"
BEGIN_IMAGE, IMAGE, END_IMAGE = "<|begin_of_image|>", "<|image|>", "<|end_of_image|>"
BEGIN_AUDIO, AUDIO, END_AUDIO = "<|begin_of_audio|>", "<|audio|>", "<|end_of_audio|>"
SPECIAL_TOKENS = (
    END,
    *BEGIN,
    SYSTEM,
    USER,
    ASSISTANT,
    OBSERVATION,
    THINK,
    END_THINK,
    BEGIN_IMAGE,
    IMAGE,
    END_IMAGE,
    BEGIN_AUDIO,
    AUDIO,
    END_AUDIO,
)


class Tokenizer:
    """Text to token ids and back; text never turns into a special token."""

    def __init__(self, path: Path):
        self._inner = tokenizers.Tokenizer.from_file(str(path))
        self._inner.encode_special_tokens = True
        self._special = {name: self._id_of(name) for name in SPECIAL_TOKENS}
        self._special_ids = frozenset(self._special.values())
        self._bytes = [self._token_bytes(i) for i in range(self.vocab_size)]
        self.longest_token = max(map(len, self._bytes))

    @property
    def vocab_size(self) -> int:
        return int(self._inner.get_vocab_size())

    @property
    def marks(self) -> Mapping[int, Mark]:
        return {
            self.special(THINK): Mark(Channel.REASONING, THINK),
            self.special(END_THINK): Mark(Channel.CONTENT, END_THINK),
        }

    def special(self, name: str) -> int:
        """Id of one of `SPECIAL_TOKENS`."""
        return self._special[name]

    def is_special(self, token_id: int) -> bool:
        return token_id in self._special_ids

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; what looks like a special token stays text."""
        # A batch of one: unlike `encode`, it lets other threads run meanwhile.
        [encoding] = self._inner.encode_batch_fast([text], add_special_tokens=False)
        return list(encoding.ids)

    def bytes_of(self, token_id: int) -> bytes:
        """UTF-8 bytes a token stands for: part of a character, one, or several. Empty for special tokens."""
        return self._bytes[token_id]

    def name_of(self, token_id: int) -> bytes:
        """UTF-8 bytes a token is written with, those of special tokens included."""
        return self._bytes[token_id] or str(self._inner.id_to_token(token_id)).encode()

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the ids; broken characters become U+FFFD, special tokens nothing."""
        return b"".join(map(self.bytes_of, token_ids)).decode("utf-8", errors="replace")

    def _id_of(self, name: str) -> int:
        token_id = self._inner.token_to_id(name)
        if token_id is None:
            raise ValueError(f"tokenizer.json has no token {name}")
        return int(token_id)

    def _token_bytes(self, token_id: int) -> bytes:
        if token_id in self._special_ids:
            return b""
        token = self._inner.id_to_token(token_id)
        if token is None:
            raise ValueError(f"tokenizer.json has no token with id {token_id}")
        if len(token) == len("<0x00>") and token.startswith("<0x"):
            return bytes([int(token[3:5], 16)])
        return str(token).encode()
