"""Scores mean what their names say."""

import pytest

from training.scores import caption_scores, grocery_scores, names_in, words

NAMES = {"大番茄": {"番茄"}, "番茄": {"番茄"}, "苹果": {"苹果"}}


def test_words_leave_out_punctuation() -> None:
    assert words("两只狗，在跑。") == words("两只狗在跑")


def test_the_longest_name_counts() -> None:
    assert names_in("这是大番茄和苹果。", NAMES) == ["大番茄", "苹果"]


def test_a_finer_name_says_the_coarse_class_but_not_another_name() -> None:
    scores = grocery_scores(["这是大番茄。", "这是苹果。"], [("番茄", "番茄"), ("苹果", "苹果")], NAMES)
    assert scores == {"fine": 50.0, "coarse": 100.0}


def test_a_copied_reference_scores_full_bleu_and_a_stranger_none() -> None:
    references = [["两只狗在草地上奔跑。"], ["一个男孩在海边玩沙子。"]]
    assert caption_scores([group[0] for group in references], references)["bleu_4"] == pytest.approx(
        100, abs=0.01
    )
    swapped = caption_scores([group[0] for group in reversed(references)], references)
    assert swapped["cider_d"] < 20
