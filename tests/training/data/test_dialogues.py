"""Conversations remember what was told, and never use the words that the report asks with."""

import gzip
import json
import random
import re
from pathlib import Path

import pytest

from training.data.asides import with_aside
from training.data.dialogues import DialogueSource
from training.data.memories import MEMORIES
from training.data.turns import Turn
from training.evaluate_dialogues import SCRIPTS

DRAWS = 4_000


@pytest.fixture
def dialogues(tmp_path: Path) -> DialogueSource:
    folder = tmp_path / "text_zh"
    folder.mkdir()
    group = {"prompts": ["今天好冷"], "replies": ["多穿点。"]}
    (folder / "smalltalk_seed_cc0.jsonl").write_text(json.dumps(group) + "\n", encoding="utf-8")
    with gzip.open(folder / "tatoeba_zh.tsv.gz", "wt", encoding="utf-8") as lines:
        lines.write("月亮有多重呢？\t1\tsomebody\n")
    return DialogueSource(tmp_path)


def bare(text: str) -> str:
    """Without punctuation."""
    return re.sub(r"\W", "", text)


def test_what_is_asked_for_was_told_before(dialogues: DialogueSource) -> None:
    rng = random.Random(0)
    remembered = [
        d for d in (dialogues.draw(rng) for _ in range(DRAWS)) if d.thought.startswith("用户说过：")
    ]
    assert len(remembered) > DRAWS / 10
    for dialogue in remembered:
        *before, asked, answer = dialogue.turns
        assert any(
            answer == topic.answer.format(x=fact)
            and any(question in asked for question in topic.questions)
            and any(telling.format(x=fact) in before for telling in topic.tellings)
            for topic in MEMORIES
            for fact in topic.facts
        )


def test_what_the_report_asks_for_is_never_asked_in_training_in_the_same_words(
    dialogues: DialogueSource,
) -> None:
    """What it cannot know comes from Tatoeba, where the report's questions are not."""
    asked = {bare(script.said[-1]) for script in SCRIPTS if script.skill in ("memory", "identity")}
    rng = random.Random(1)
    drawn = {bare(turn) for _ in range(10 * DRAWS) for turn in dialogues.draw(rng).turns[::2]}
    assert asked & drawn == set()


def test_an_aside_leaves_the_questions_about_the_picture_as_they_are(dialogues: DialogueSource) -> None:
    turns = [
        Turn("这是什么？", ("苹果。",), ("红。",), seen_at=(1,)),
        Turn("什么颜色？", ("红色。",), ("红。",), seen_at=(2,)),
    ]
    longer = [with_aside(turns, dialogues, random.Random(seed)) for seed in range(60)]
    for conversation in longer:
        assert len(conversation) == 3
        kept = [turn for turn in conversation if turn.seen_at is not None]
        assert [turn.answers for turn in kept] == [turn.answers for turn in turns]
        assert all(turn.question.endswith(own.question) for turn, own in zip(kept, turns, strict=True))
    assert {conversation.index(turns[1]) for conversation in longer} == {1, 2}


def test_a_name_said_with_the_question_is_known_at_the_end(dialogues: DialogueSource) -> None:
    turns = [Turn("这是什么？", ("苹果。",), ("红。",))]
    named = [with_aside(turns, dialogues, random.Random(seed)) for seed in range(60)]
    named = [c for c in named if c[-1].answers[0].startswith("你叫")]
    assert named
    for conversation in named:
        name = conversation[-1].answers[0].removeprefix("你叫").removesuffix("。")
        assert name in conversation[0].question
