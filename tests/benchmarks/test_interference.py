"""Text answers beside pictures, against a scripted server."""

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.interference import Plan, measure
from tests.benchmarks.scripted import Body, saying, whole

PLAN = Plan(users=2, pictures=3, rounds=2)


def shows_picture(body: Body) -> bool:
    return isinstance(body["messages"][-1]["content"], list)


async def test_both_kinds_of_stretches_have_answers_and_one_has_pictures() -> None:
    async with saying(lambda body: whole("one ", "two ", "three")) as url:
        (without, beside), facts = await measure(url, PLAN)
    assert (without["pictures"], beside["pictures"]) == (0, PLAN.rounds * PLAN.pictures)
    assert without["answers"] > 0 < beside["answers"]
    assert {row["failed_answers"] for row in (without, beside)} == {0}
    assert facts["pictures_per_s"] > 0 < facts["p99_ratio"]


async def test_failures_are_counted_apart() -> None:
    async with saying(lambda body: whole("a", "b") if shows_picture(body) else b"") as url:
        with pytest.raises(BenchmarkError, match="no answer"):
            await measure(url, PLAN)


async def test_a_server_that_takes_no_pictures_is_no_measurement() -> None:
    async with saying(lambda body: b"" if shows_picture(body) else whole("a", "b")) as url:
        with pytest.raises(BenchmarkError, match="Pictures were not answered"):
            await measure(url, PLAN)
