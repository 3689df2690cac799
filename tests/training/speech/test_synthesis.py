"""The plan keeps held-out voices and wordings away from training."""

from pathlib import Path

from training.speech import questions
from training.speech.kokoro import HELD_OUT_VOICES, TRAIN_VOICES
from training.speech.sentences import han
from training.speech.synthesis import plan


def test_voices_and_texts_of_the_report_are_never_trained_on(data: Path) -> None:
    lines = list(plan(data, set("好天气苹果红色")))
    by_split = {split: [line for line in lines if line.split == split] for split in ("train", "held_out")}
    assert {line.voice for line in by_split["train"]} == set(TRAIN_VOICES)
    assert {line.voice for line in by_split["held_out"]} == set(HELD_OUT_VOICES)
    assert not set(HELD_OUT_VOICES) & set(TRAIN_VOICES)
    trained = {han(line.text) for line in by_split["train"]}
    assert not trained & {han(line.text) for line in by_split["held_out"]}


def test_questions_name_every_thing_colour_and_place() -> None:
    asked = "".join(questions.TRAIN)
    names = (*questions.THINGS, *questions.COLOURS, *questions.PLACES)
    assert all(name in asked for name in names)
    assert len(set(map(han, questions.TRAIN))) == len(questions.TRAIN)
