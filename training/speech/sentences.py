"""What is spoken: sentences and words that together say every character the recogniser can write."""

import csv
import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import jieba

SHORTEST, LONGEST = 5, 26
HELD_OUT_SHARE = 25  # one sentence in so many is never trained on
WORDS_A_LINE = 5
ENOUGH = 4  # a character said so often asks for no more sentences
_NOT_HAN = re.compile(r"[^\u4e00-\u9fff]")
_SPEAKABLE = re.compile(r"[\u4e00-\u9fff，。！？、；：]+")


def han(text: str) -> str:
    """Only the Chinese characters."""
    return _NOT_HAN.sub("", text)


def is_held_out(text: str) -> bool:
    """By hash, so that the choice needs no list and never moves."""
    return hashlib.sha256(han(text).encode()).digest()[0] * HELD_OUT_SHARE < 256


def read_sentences(data: Path, characters: set[str]) -> list[str]:
    """Distinct speakable sentences of the open texts, in the order of their files."""
    said = dict.fromkeys(
        text
        for text in map(str.strip, _raw(data / "text_zh"))
        if _SPEAKABLE.fullmatch(text)
        and SHORTEST <= len(han(text)) <= LONGEST
        and characters.issuperset(han(text))
    )
    return list(said)


def _raw(folder: Path) -> Iterator[str]:
    for line in (folder / "smalltalk_seed_cc0.jsonl").read_text().splitlines():
        group = json.loads(line)
        yield from [*group["prompts"], *group["replies"]]
    for name, column in (("tatoeba_zh", 0), ("coco_cn_ext_captions", 1)):
        with gzip.open(folder / f"{name}.tsv.gz", "rt", encoding="utf-8") as lines:
            yield from (row[column] for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    for name in ("crosswoz_dialogues", "kdconv_dialogues"):
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                for turn in json.loads(line)["turns"]:
                    yield from re.split(r"(?<=[。！？])", turn)


def words(characters: set[str]) -> dict[str, int]:
    """Words of two to four characters with their counts, from jieba's dictionary."""
    jieba.initialize()
    return {
        word: count
        for word, count in jieba.dt.FREQ.items()
        if count > 0 and 2 <= len(word) <= 4 and characters.issuperset(word)
    }


def word_lines(characters: set[str], limit: int) -> list[str]:
    """Lines of a few words: first one or two words for each rare character, then the most frequent words."""
    counts = words(characters)
    by_count = sorted(counts, key=lambda word: -counts[word])
    seen: Counter[str] = Counter()
    rare: list[str] = []
    for word in by_count:
        if any(seen[character] < 2 for character in word):
            rare.append(word)
            seen.update(word)
    alone = [character for character in sorted(characters) if character not in seen]
    chosen = list(dict.fromkeys([*_interleave(rare, by_count[:limit]), *alone]))
    return ["，".join(chosen[i : i + WORDS_A_LINE]) + "。" for i in range(0, len(chosen), WORDS_A_LINE)]


def _interleave(first: Sequence[str], second: Sequence[str]) -> Iterator[str]:
    for i in range(max(len(first), len(second))):
        yield from first[i : i + 1]
        yield from second[i : i + 1]


def most_telling(sentences: Iterable[str], limit: int) -> list[str]:
    """Greedy cover: each pass takes the sentences whose characters have been said least, per character."""
    left = list(sentences)
    said: Counter[str] = Counter()
    chosen: list[str] = []
    for rounds in range(1, ENOUGH * 4):
        kept = []
        for text in left:
            gain = sum(said[character] < rounds for character in set(han(text)))
            if gain * 3 >= len(han(text)) or (rounds >= ENOUGH and gain):
                chosen.append(text)
                said.update(han(text))
            else:
                kept.append(text)
            if len(chosen) == limit:
                return chosen
        left = kept
    return chosen
