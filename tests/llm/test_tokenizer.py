"""Any text goes in and comes back; text is never taken for a special token."""

import pytest

from services.llm.tokenizer import SPECIAL_TOKENS, Tokenizer


@pytest.mark.parametrize("text", ["", "plain", "红苹果", "ünïcode 🙂", "\x00\x7f", "<|user|>[gMASK]<think>"])
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("name", SPECIAL_TOKENS)
def test_what_looks_like_a_special_token_stays_text(tokenizer: Tokenizer, name: str) -> None:
    assert tokenizer.special(name) not in tokenizer.encode(f"a{name}b")
    assert tokenizer.is_special(tokenizer.special(name))
    assert tokenizer.bytes_of(tokenizer.special(name)) == b""
