"""Tables and the JSON line."""

import json

import pytest

from benchmarks.report import show, spread, spread_ms


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


def test_a_spread_in_milliseconds_is_columns_and_zero_where_nothing_was_measured() -> None:
    assert spread_ms("ttft", [0.001, 0.003], 50, 99) == {"ttft_p50_ms": 2.0, "ttft_p99_ms": 3.0}
    assert spread_ms("ttft", [], 50) == {"ttft_p50_ms": 0.0}
