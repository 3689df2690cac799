"""Error rates count characters, and say how sure they are."""

import pytest

from training.speech.scores import edits, error_rate, exact_percent


@pytest.mark.parametrize(
    ("truth", "said", "expected"),
    [
        ("今天好", "今天好", 0),
        ("今天好", "今天", 1),
        ("今天好", "今天很好", 1),
        ("今天好", "明日好", 2),
        ("好", "", 1),
    ],
)
def test_edits(truth: str, said: str, expected: int) -> None:
    assert edits(truth, said) == expected


def test_punctuation_does_not_count() -> None:
    assert error_rate(["今天好"], ["今天，好。"]).percent == 0
    assert exact_percent(["今天好", "你好"], ["今天，好。", "您好"]) == 50


def test_a_rate_weighs_clips_by_length() -> None:
    assert error_rate(["一二三四五六七八", "好吗"], ["一二三四五六七八", ""]).percent == pytest.approx(20)


def test_the_interval_holds_the_rate_and_narrows_with_more_clips() -> None:
    few = error_rate(["一二三四", "五六七八"] * 5, ["一二三四", "五六七"] * 5)
    many = error_rate(["一二三四", "五六七八"] * 200, ["一二三四", "五六七"] * 200)
    assert few.low <= few.percent <= few.high
    assert many.high - many.low < few.high - few.low
