"""Tables and the JSON line."""

import json

import pytest

from benchmarks.report import show, spread


def test_the_spread_is_the_median_and_the_95th_percentile() -> None:
    assert spread([float(n) for n in range(101)]) == {"p50": 50, "p95": 95}


def test_the_last_line_holds_everything_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    show("photo", questions=[{"question": "新图", "ms": 7.5}], memory=[], facts={"width": 64})
    *table, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert report["benchmark"] == "photo"
    assert report["width"] == 64
    assert report["questions"] == [{"question": "新图", "ms": 7.5}]
    assert any("7.5" in line for line in table)
