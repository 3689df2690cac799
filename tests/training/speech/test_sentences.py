"""What is spoken covers the characters, and what is held out stays out."""

import gzip
import json
from pathlib import Path

import pytest

from training.speech.sentences import han, is_held_out, most_telling, read_sentences, word_lines

CHARACTERS = set("你好吗我很好今天天气怎么样明天见再见一个男人在街上走苹果是红色的")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "text_zh"
    folder.mkdir()
    group = {"prompts": ["你好", "今天天气怎么样？"], "replies": ["今天天气很好。"]}
    (folder / "smalltalk_seed_cc0.jsonl").write_text(json.dumps(group) + "\n")
    for name, line in (
        ("tatoeba_zh", "苹果是红色的。\t1\tsomeone\n"),
        ("coco_cn_ext_captions", "a.jpg\t一个男人在街上走\n"),
    ):
        (folder / f"{name}.tsv.gz").write_bytes(gzip.compress(line.encode()))
    turns = json.dumps({"turns": ["再见。明天见，再见！", "评分4.5分"]}, ensure_ascii=False)
    for name in ("crosswoz_dialogues", "kdconv_dialogues"):
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(turns.encode()))
    return tmp_path


def test_sentences_are_those_that_can_be_said_and_written(data: Path) -> None:
    assert read_sentences(data, CHARACTERS) == [
        "今天天气怎么样？",
        "今天天气很好。",
        "苹果是红色的。",
        "一个男人在街上走",
        "明天见，再见！",
    ]


def test_a_character_that_cannot_be_written_drops_the_sentence(data: Path) -> None:
    assert "苹果是红色的。" not in read_sentences(data, CHARACTERS - {"苹"})


def test_holding_out_looks_at_the_characters_alone() -> None:
    texts = [f"今天天气{a}{b}" for a in CHARACTERS for b in CHARACTERS]
    share = sum(map(is_held_out, texts)) / len(texts)
    assert 0.02 < share < 0.06
    assert all(is_held_out(text) == is_held_out(f"{text}。") for text in texts)


def test_telling_sentences_come_first_and_repetitions_never() -> None:
    chosen = most_telling(["你好吗", "你好吗你好", "今天天气", *["你好吗你"] * 50], 10)
    assert chosen[:2] == ["你好吗", "今天天气"]
    assert len(chosen) <= 10


def test_word_lines_say_every_character() -> None:
    lines = word_lines(CHARACTERS, 20)
    assert set(han("".join(lines))) == CHARACTERS
    assert all(line.endswith("。") for line in lines)
