"""Byte-level tokens stand for the bytes that the official tokenizer gives them."""

import random
from pathlib import Path

import pytest

from servicekit import torchaudio_guard
from services.llm.chat.byte_level import ByteLevelTokenizer
from services.llm.detokenizer import Detokenizer
from services.llm.vocabulary import Channel
from tests.bundles import write_tokenizer as write_native_tokenizer
from tests.published import write_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> ByteLevelTokenizer:
    return ByteLevelTokenizer(folder / "tokenizer.json")


def test_any_tokens_decode_as_an_official_server_shows_them(
    folder: Path, tokenizer: ByteLevelTokenizer
) -> None:
    torchaudio_guard.install()
    import transformers

    official = transformers.AutoTokenizer.from_pretrained(folder)
    draw = random.Random(0)
    for _ in range(200):
        token_ids = [draw.randrange(tokenizer.vocab_size) for _ in range(30)]
        assert tokenizer.decode(token_ids) == official.decode(token_ids, skip_special_tokens=True)


def test_deltas_put_together_are_the_official_text(tokenizer: ByteLevelTokenizer) -> None:
    words = '<think>想一想 🍎</think><answer>do(action="Tap")</answer> é'
    detokenizer = Detokenizer(tokenizer)
    deltas = [delta for token in tokenizer.encode(words) for delta in detokenizer.push(token)]
    deltas += detokenizer.flush()
    assert "".join(delta.markup + delta.text for delta in deltas) == words.replace("</answer>", "")
    assert "".join(d.text for d in deltas if d.channel is Channel.REASONING) == "想一想 🍎"
    assert all("\ufffd" not in delta.text for delta in deltas)


def test_marks_that_lead_nowhere_are_text(tokenizer: ByteLevelTokenizer) -> None:
    words = "</think>a<think>b<think>c</think></think>"
    detokenizer = Detokenizer(tokenizer)
    deltas = [delta for token in tokenizer.encode(words) for delta in detokenizer.push(token)]
    assert "".join(delta.markup + delta.text for delta in deltas) == words


def test_ids_beyond_the_vocabulary_stand_for_nothing(tokenizer: ByteLevelTokenizer) -> None:
    assert tokenizer.bytes_of(tokenizer.vocab_size + 3) == b""


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_native_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(ValueError, match="no byte-level"):
        ByteLevelTokenizer(tmp_path / "tokenizer.json")


def test_no_token_stands_for_more_bytes_than_the_longest(tokenizer: ByteLevelTokenizer) -> None:
    lengths = [len(tokenizer.name_of(token_id)) for token_id in range(tokenizer.vocab_size)]
    assert tokenizer.longest_token == max(lengths)
