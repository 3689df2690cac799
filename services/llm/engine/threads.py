"""How many threads compute a step: as many as have proved fastest, which is tried again from time to time.

More are not always faster. Cores may be shared with other processes, or be two halves of one; a small step is
over before a sleeping thread has woken up; and a layer waits for the last of its threads.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch

LAPS = 5  # steps of either side in a contest
REST = 250  # steps until the next one
CLEARLY = 0.97  # of the champion's time, or a challenger does not win


class Contest:
    """Finds the best number for steps of about one size: a neighbour on the ladder challenges it."""

    def __init__(self, most: int):
        self._ladder = [*(1 << i for i in range((most - 1).bit_length())), most]
        self._champion, self._rest = len(self._ladder) - 1, 0
        self._begin(-1)

    def next(self) -> int:
        """Threads of the next step: in a contest the sides take turns, since a machine's speed drifts."""
        if self._rest:
            return self._ladder[self._champion]
        return self._ladder[min(self._laps, key=lambda rung: len(self._laps[rung]))]

    def learn(self, threads: int, seconds: float) -> None:
        """Takes in what the step took."""
        if self._rest:
            self._rest -= 1
            return
        self._laps[self._ladder.index(threads)].append(seconds)
        if all(len(laps) == LAPS for laps in self._laps.values()):
            self._decide()

    def _decide(self) -> None:
        """A winner goes on the way it came, at once; else there is rest, and then the other way is tried."""
        (old, before), (new, after) = self._laps.items()
        won, way = median(after) < CLEARLY * median(before), new - old
        if won:
            self._champion = new
        self._rest = 0 if won and self._is_rung(new + way) else REST
        self._begin(way if won else -way)

    def _begin(self, way: int) -> None:
        """Against the neighbour there; at an end of the ladder there is only one."""
        challenger = self._champion + (way if self._is_rung(self._champion + way) else -way)
        self._laps: dict[int, list[float]] = {self._champion: [], challenger: []}

    def _is_rung(self, rung: int) -> bool:
        return 0 <= rung < len(self._ladder)


class Threads:
    """Sets the threads of each step by its size; `most` is the limit, and 1 leaves nothing to choose."""

    def __init__(self, most: int, use: Callable[[int], None] = torch.set_num_threads):
        self._most, self._use = most, use
        self._contests: dict[int, Contest] = {}

    @contextmanager
    def compute(self, tokens: int) -> Iterator[None]:
        """Around a step of so many tokens, on the thread that computes it."""
        if self._most == 1:
            yield
            return
        contest = self._contests.setdefault(tokens.bit_length(), Contest(self._most))
        count = contest.next()
        self._use(count)
        started = time.perf_counter()
        yield
        contest.learn(count, time.perf_counter() - started)
