"""Steps are as large as the time per token allows."""

import pytest

from services.llm.engine.pacing import HEADROOM, Pace

ANSWER, TOKEN = 0.004, 0.001  # seconds that an answer and a prompt token take on the machine played here


def measured(target: float, answers: int = 4) -> Pace:
    pace = Pace(target, smallest_chunk=8)
    for _ in range(20):
        pace.learn(answers, 0, answers * ANSWER)
        pace.learn(answers, 100, answers * ANSWER + 100 * TOKEN)
    return pace


def test_prompts_take_the_time_that_answers_leave() -> None:
    pace = measured(0.1)
    assert pace.prompt_tokens(4, most=512) == pytest.approx((0.1 * HEADROOM - 4 * ANSWER) / TOKEN, abs=1)


def test_prompts_alone_and_without_a_target_take_all_there_is() -> None:
    assert measured(0.1).prompt_tokens(0, most=512) == 512
    assert measured(0.0).prompt_tokens(4, most=512) == 512
    assert Pace(0.1).prompt_tokens(4, most=512) == 512, "nothing is known yet"


def test_prompts_go_on_however_tight_the_target_is() -> None:
    assert measured(0.001).prompt_tokens(4, most=512) == 8
    assert measured(0.001).prompt_tokens(4, most=3) == 3


def test_one_more_is_let_in_while_all_keep_their_pace() -> None:
    pace = measured(0.05)  # 0.04 aimed at, 0.008 of it for the smallest chunk
    assert [running for running in range(20) if pace.admits(running)] == [*range(8)]
    assert measured(0.0001).admits(0), "alone in the house"
    assert measured(0.0).admits(1000)


def test_a_hiccup_is_soon_forgotten() -> None:
    pace = measured(0.1)
    pace.learn(4, 0, 30.0)
    for _ in range(20):
        pace.learn(4, 0, 4 * ANSWER)
    assert pace.answer_seconds(4) == pytest.approx(4 * ANSWER, rel=0.01)


def test_a_slower_machine_is_noticed() -> None:
    pace = measured(0.1)
    for _ in range(60):
        pace.learn(4, 0, 8 * ANSWER)
    assert pace.answer_seconds(4) == pytest.approx(8 * ANSWER, rel=0.01)
    assert pace.answer_seconds(8) == pytest.approx(2 * pace.answer_seconds(4)), "never seen: in proportion"
    assert pace.answer_seconds(2) == pace.answer_seconds(4), "fewer take no longer"
