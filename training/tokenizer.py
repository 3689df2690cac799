"""Builds tokenizer.json: the characters that occur, and bytes for all others."""

import string
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models

from services.llm.tokenizer import SPECIAL_TOKENS

MIN_COUNT = 2


def build_tokenizer(texts: Iterable[str], path: Path) -> None:
    """Writes a tokenizer whose vocabulary is the characters seen at least `MIN_COUNT` times in `texts`."""
    counts = Counter("".join(texts))
    frequent = {char for char, count in counts.items() if count >= MIN_COUNT}
    characters = sorted(frequent | set(string.printable[:95]) | {"\n"})
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)] + characters
    vocabulary = {token: len(SPECIAL_TOKENS) + index for index, token in enumerate(alphabet)}
    specials = {name: index for index, name in enumerate(SPECIAL_TOKENS)}
    model = models.BPE(vocab={**specials, **vocabulary}, merges=[], byte_fallback=True)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
