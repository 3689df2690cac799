"""Any text goes in and comes back; text is never taken for a special token."""

import threading

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


@pytest.mark.parametrize("text", ["plain", "红苹果", "ünïcode 🙂"])
def test_no_token_stands_for_more_bytes_than_the_longest(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert max(len(tokenizer.bytes_of(token_id)) for token_id in ids) <= tokenizer.longest_token
    assert len(text.encode()) <= len(ids) * tokenizer.longest_token


def test_other_threads_run_while_a_long_text_is_encoded(tokenizer: Tokenizer) -> None:
    ticks, done = 0, threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.wait(0.001):
            ticks += 1

    ticking = threading.Thread(target=tick)
    ticking.start()
    tokenizer.encode("a" * 300_000)
    done.set()
    ticking.join()
    assert ticks > 5
