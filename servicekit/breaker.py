"""A circuit breaker: a backend that failed several times in a row is left alone for a while.

Then one call finds out whether it is back, while the others are still refused at once.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from servicekit.errors import DeadlineExceeded, ServiceError, Unavailable
from servicekit.telemetry import remaining_time

THRESHOLD = 3
PAUSE_S = 1.0
SLACK_S = 0.1  # between the clocks of a caller and its callee

log = structlog.get_logger("breaker")


class Breaker:
    """Guards the calls to one backend. Only silence counts against it; an answer never does."""

    def __init__(
        self,
        name: str,
        *,
        threshold: int = THRESHOLD,
        pause_s: float = PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.name, self._threshold, self._pause_s, self._clock = name, threshold, pause_s, clock
        self._faults = 0
        self._open_until: float | None = None
        self._probing = False

    def unavailable(self) -> Unavailable:
        """The error that names the backend, such as VISION_UNAVAILABLE."""
        return Unavailable(
            f"{self.name.upper()}_UNAVAILABLE",
            f"The {self.name} service cannot be reached.",
            retry_after_s=self._pause_s,
        )

    @contextmanager
    def guard(self) -> Iterator[Callable[[], None]]:
        """Around one call, its retries included; raises Unavailable at once while the backend is left alone.

        Yields what may be called once the backend has answered: how the call ends then no longer matters.
        """
        probe = self._admit()
        settled = False

        def answered() -> None:
            nonlocal settled
            if not settled:
                settled = True
                self._succeed()

        try:
            yield answered
        except ServiceError as error:
            if not self._is_silence(error):
                answered()
            elif not settled:
                self._fail(probe)
            raise
        except BaseException:  # the caller left: nothing was learnt
            if probe and not settled:
                self._probing = False
            raise
        answered()

    def _admit(self) -> bool:
        """Whether this call is the probe."""
        if self._open_until is None:
            return False
        if self._probing or self._clock() < self._open_until:
            raise self.unavailable()
        self._probing = True
        return True

    def _succeed(self) -> None:
        if self._open_until is not None:
            log.info(f"{self.name} is back")
        self._faults, self._open_until, self._probing = 0, None, False

    def _fail(self, probe: bool) -> None:
        self._faults += 1
        if probe:
            self._probing = False
        elif self._open_until is not None or self._faults < self._threshold:
            return
        else:
            log.warning(f"{self.name} is left alone for a while", faults=self._faults)
        self._open_until = self._clock() + self._pause_s

    def _is_silence(self, error: ServiceError) -> bool:
        """Nobody answered in time; what the backend says of another that it misses is an answer."""
        return is_own_deadline(error) or error.reason == self.unavailable().reason


def is_own_deadline(error: ServiceError) -> bool:
    """Whether time ran out that we gave ourselves; the caller who is being served has some left."""
    left = remaining_time()
    return isinstance(error, DeadlineExceeded) and (left is None or left > SLACK_S)
