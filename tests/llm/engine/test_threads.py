"""Steps get as many threads as prove fastest, and follow when that changes."""

from collections import Counter
from collections.abc import Callable

import pytest

from services.llm.engine.threads import LAPS, REST, Contest, Threads

Seconds = Callable[[int], float]


def run(contest: Contest, seconds: Seconds, steps: int) -> Counter[int]:
    """How many steps were computed by how many threads."""
    used: Counter[int] = Counter()
    for _ in range(steps):
        count = contest.next()
        used[count] += 1
        contest.learn(count, seconds(count))
    return used


@pytest.mark.parametrize(
    ("most", "best", "found"),
    [(2, 1, 1), (2, 2, 2), (3, 2, 2), (8, 1, 1), (8, 2, 2), (12, 12, 12), (12, 7, 8)],
)
def test_the_fastest_of_the_powers_of_two_and_the_limit_is_found(most: int, best: int, found: int) -> None:
    contest = Contest(most)
    run(contest, lambda count: 1 + abs(count - best), 10 * LAPS)
    assert contest.next() == found


def test_trying_costs_few_steps() -> None:
    contest = Contest(2)
    run(contest, float, 2 * LAPS)
    used = run(contest, float, 10 * (REST + 2 * LAPS))
    assert used[2] == 10 * LAPS < 0.03 * used.total()


def test_a_change_of_the_machine_is_noticed() -> None:
    contest = Contest(2)
    assert run(contest, float, 3 * LAPS) == {1: 2 * LAPS, 2: LAPS}
    run(contest, lambda count: 1 / count, REST + LAPS)
    assert run(contest, lambda count: 1 / count, REST // 2) == {2: REST // 2}


def test_one_slow_step_decides_nothing() -> None:
    contest = Contest(2)
    slow = iter([50.0])
    run(contest, lambda count: next(slow, 1 / count) if count == 2 else 1 / count, 2 * LAPS)
    assert run(contest, lambda count: 1 / count, REST // 2) == {2: REST // 2}


def test_threads_are_set_before_each_step_and_sizes_are_told_apart() -> None:
    used: list[int] = []
    threads = Threads(4, used.append)
    for tokens in (1, 1, 300, 300):
        with threads.compute(tokens):
            assert used
    assert used == [4, 2, 4, 2]


def test_a_step_that_fails_is_no_lap() -> None:
    used: list[int] = []
    threads = Threads(2, used.append)
    for _ in range(2):
        with pytest.raises(RuntimeError), threads.compute(8):
            raise RuntimeError("lost")
    assert used == [2, 2]


def test_with_one_thread_nothing_is_ever_set() -> None:
    used: list[int] = []
    with Threads(1, used.append).compute(8):
        pass
    assert used == []
