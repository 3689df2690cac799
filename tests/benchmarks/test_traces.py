"""Sessions drawn from a seed."""

from itertools import pairwise

import pytest

from benchmarks.traces import SYSTEM_LENGTH, TRACES, TURNS, Session, sessions

LENGTH = 24


def texts(session: Session) -> list[str]:
    contents = [turn["content"] for turn in session.turns]
    return [content if isinstance(content, str) else content[-1]["text"] for content in contents]


@pytest.mark.parametrize("trace", TRACES)
def test_a_seed_gives_the_same_sessions_again_and_another_others(trace: str) -> None:
    assert sessions(trace, 3, LENGTH, 1) == sessions(trace, 3, LENGTH, 1)
    assert all(a != b for a, b in zip(*(sessions(trace, 3, LENGTH, seed) for seed in (1, 2)), strict=True))


@pytest.mark.parametrize("trace", TRACES)
def test_questions_have_the_length_asked_for_and_are_all_different(trace: str) -> None:
    asked = [text for session in sessions(trace, 20, LENGTH, 0) for text in texts(session)]
    assert {len(text) for text in asked} == {LENGTH}
    assert len(set(asked)) == len(asked)


def test_conversations_have_turns_and_the_others_one() -> None:
    counts = {trace: len(sessions(trace, 1, LENGTH, 0)[0].turns) for trace in TRACES}
    assert counts == {"chat": 1, "system": 1, "picture": 1, "turns": TURNS}


def test_a_system_prompt_is_long_and_shared_by_all() -> None:
    drawn = sessions("system", 5, LENGTH, 0)
    assert {len(session.system) for session in drawn} == {SYSTEM_LENGTH * LENGTH}
    assert all(a.opening == b.opening != [] for a, b in pairwise(drawn))


def test_each_picture_question_shows_a_picture_of_its_own() -> None:
    pictures = [
        session.turns[0]["content"][0]["image_url"]["url"] for session in sessions("picture", 3, 8, 0)
    ]
    assert len(set(pictures)) == 3
    assert all(url.startswith("data:image/jpeg;base64,") for url in pictures)
