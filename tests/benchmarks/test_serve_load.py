"""Endpoints side by side: what the tables say."""

import json
import random
from collections.abc import Callable

import pytest

from benchmarks.pace import OUTCOMES
from benchmarks.serve_load import Endpoint, Load, Plan, Report, measure
from tests.benchmarks.scripted import Body, saying, whole

PLAN = Plan("chat", [Load(at_once=2), Load(per_second=50.0)], rounds=2, open_loop_seconds=0.1, length=8)
SESSIONS = {"2 at once": 2 * 4, "50/s": 2 * 8}


def same(body: Body) -> bytes:
    return whole("one ", "two ", body["messages"][-1]["content"])


def other(body: Body) -> bytes:
    return whole("one ", "too ", "far")


async def compared(*answers: Callable[[Body], bytes]) -> Report:
    async with saying(answers[0]) as first, saying(answers[1]) as second:
        return await measure([Endpoint("a", first), Endpoint("b", second)], PLAN)


async def test_endpoints_that_agree_are_told_to_agree() -> None:
    report = await compared(same, same)
    assert [row["identical"] for row in report.parity] == list(SESSIONS.values())
    assert {row["common_beginning_percent"] for row in report.parity} == {100.0}
    assert report.failures == []


async def test_endpoints_that_differ_are_told_where() -> None:
    report = await compared(same, other)
    assert {(row["endpoint"], row["beside"], row["identical"]) for row in report.parity} == {("b", "a", 0)}
    shares = [row["common_beginning_percent"] for row in report.parity]
    assert shares == pytest.approx([100 * len("one t") / len("one too far")] * 2, abs=0.1)


async def test_every_load_has_a_row_for_every_endpoint_with_all_its_questions() -> None:
    report = await compared(same, other)
    assert [(row["load"], row["endpoint"]) for row in report.speed] == [
        (load, name) for load in SESSIONS for name in "ab"
    ]
    for row in report.speed:
        assert row["answered"] == SESSIONS[row["load"]]
        assert row["slowest_round"] <= row["tokens_per_s"] <= row["fastest_round"]
    assert {row["tokens"] for row in report.latency} == {3}
    assert all(0 < row["ttft_p50_ms"] <= row["ttft_p99_ms"] for row in report.latency)
    json.dumps(vars(report))


async def test_no_failure_is_hidden() -> None:
    draw = random.Random(0)

    def unsteady(body: Body) -> bytes:
        return draw.choice([same(body), b"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\n{}", b""])

    report = await compared(same, unsteady)
    rows = [row for row in report.speed if row["endpoint"] == "b"]
    for row in rows:
        assert sum(row[outcome] for outcome in (*OUTCOMES, "unasked")) == SESSIONS[row["load"]]
    assert sum(row["lost"] for row in rows) == sum(row["count"] for row in report.failures) > 0
    assert 500 in {row["status"] for row in report.failures}


async def test_no_question_comes_twice_and_all_endpoints_get_the_same() -> None:
    asked: dict[str, list[str]] = {"a": [], "b": []}

    def keep(name: str) -> Callable[[Body], bytes]:
        def answer(body: Body) -> bytes:
            asked[name].append(body["messages"][-1]["content"])
            return same(body)

        return answer

    await compared(keep("a"), keep("b"))
    assert sorted(asked["a"]) == sorted(asked["b"])
    assert len(set(asked["a"])) == len(asked["a"]) > sum(SESSIONS.values())
