"""Tokens leave at once while few answers stream, and in larger pieces while many do."""

import asyncio

from services.llm.engine.request import Finished, FinishReason, Token
from services.llm.outflow import PIECES_PER_SECOND, Outbox, Outflow

MANY = [
    f"{index}" for index in range(PIECES_PER_SECOND)
]  # a piece each per second, if it were not for the limit
HOLD = 0.1


class Steps:
    """Answers that get a token each whenever time goes on."""

    def __init__(self, names: list[str], longest_hold: float = HOLD):
        self.now = 0.0
        self.outflow = Outflow(longest_hold, lambda: self.now)
        self.boxes = {name: self.outflow.open(name) for name in names}
        self.count = 0

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        self.outflow.put(Token(name, self.count) for name in self.boxes)
        self.count += 1

    def end(self, name: str) -> None:
        self.outflow.put([Finished(name, FinishReason.LENGTH, 0, self.count, self.count, 0.0)])


async def told(box: Outbox) -> list[int]:
    """Tokens of what has been told by now."""
    try:
        async with asyncio.timeout(0):
            return [event.token_id for event in await box.take() if isinstance(event, Token)]
    except TimeoutError:
        return []


async def test_the_tokens_of_one_answer_leave_one_by_one() -> None:
    steps = Steps(["only"])
    for index in range(3):
        steps.go_on(0.005)
        assert await told(steps.boxes["only"]) == [index]


async def test_a_first_token_never_waits_and_those_behind_it_leave_together() -> None:
    steps = Steps(MANY)
    steps.go_on(0.02)
    assert [await told(box) for box in steps.boxes.values()] == [[0]] * len(MANY)
    for _ in range(4):
        steps.go_on(0.02)
        assert await told(steps.boxes["7"]) == []
    steps.go_on(0.021)
    assert await told(steps.boxes["7"]) == [1, 2, 3, 4, 5]


async def test_an_end_brings_out_what_is_held() -> None:
    steps = Steps(MANY)
    for _ in range(3):
        steps.go_on(0.01)
    steps.end("7")
    events = await steps.boxes["7"].take()
    assert [type(event).__name__ for event in events] == ["Token", "Token", "Token", "Finished"]


async def test_who_gets_no_turn_is_told_what_there_is_by_the_steps_of_others() -> None:
    steps = Steps(MANY)
    for _ in range(2):
        steps.go_on(0.01)
    assert await told(steps.boxes["7"]) == [0]
    steps.now += HOLD
    steps.outflow.put([Token("8", 9)])
    assert await told(steps.boxes["7"]) == [1]


async def test_nothing_is_held_where_that_is_turned_off() -> None:
    steps = Steps(MANY, longest_hold=0.0)
    for index in range(3):
        steps.go_on(0.001)
        assert await told(steps.boxes["7"]) == [index]


async def test_tokens_of_who_has_left_are_dropped() -> None:
    steps = Steps(["here", "gone"])
    steps.outflow.close("gone")
    steps.go_on(0.01)
    assert await told(steps.boxes["here"]) == [0]
    assert await told(steps.boxes["gone"]) == []
