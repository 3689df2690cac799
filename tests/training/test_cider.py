"""The reward is what the field's own scorer says."""

import pytest
from pycocoevalcap.cider.cider import Cider

from training.cider import CiderD

REFERENCES = {
    "a": ["一只 狗 在 草地 上 奔跑", "狗 在 草坪 上 跑", "棕色 的 狗 奔跑"],
    "b": ["两个 人 在 海滩 上 散步", "海滩 上 的 两个 人", "一 对 夫妇 走 在 沙滩 上"],
    "c": ["男孩 踢 足球", "一个 男孩 在 草地 上 踢 足球", "孩子 们 在 玩 球"],
}
SAID = {"a": "一只 狗 在 草地 上 玩", "b": "两个 人 在 海滩 上", "c": "一只 猫"}


def test_scores_equal_those_of_pycocoevalcap() -> None:
    ours = CiderD(REFERENCES)
    _, theirs = Cider().compute_score(REFERENCES, {name: [text] for name, text in SAID.items()})
    for name, expected in zip(REFERENCES, theirs, strict=True):
        assert ours.score(name, SAID[name]) == pytest.approx(float(expected), abs=1e-6)


def test_nothing_in_common_scores_nothing() -> None:
    assert CiderD(REFERENCES).score("a", "完全 不同") == 0
