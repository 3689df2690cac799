"""When a backend is left alone, when it is tried again, and what never counts against it."""

import time

import pytest

from servicekit.breaker import Breaker
from servicekit.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted, ServiceError, Unavailable
from servicekit.telemetry import deadline

THRESHOLD, PAUSE_S = 3, 2.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("vision", threshold=THRESHOLD, pause_s=PAUSE_S, clock=clock)


def call(breaker: Breaker, error: BaseException | None = None) -> None:
    with breaker.guard():
        if error:
            raise error


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Unavailable):
            call(breaker, breaker.unavailable())


def is_refused(breaker: Breaker) -> bool:
    """Whether a call does not even start."""
    started = False
    try:
        with breaker.guard():
            started = True
            raise KeyboardInterrupt  # leaves no trace in the breaker
    except (Unavailable, KeyboardInterrupt):
        return not started


def test_after_several_faults_in_a_row_calls_are_refused_by_name(breaker: Breaker) -> None:
    fail(breaker, THRESHOLD - 1)
    assert not is_refused(breaker)
    fail(breaker, 1)
    with pytest.raises(Unavailable) as refused:
        call(breaker)
    assert refused.value.reason == "VISION_UNAVAILABLE"
    assert refused.value.retry_after_s == PAUSE_S


def test_an_answer_in_between_starts_the_count_again(breaker: Breaker) -> None:
    fail(breaker, THRESHOLD - 1)
    call(breaker)
    fail(breaker, THRESHOLD - 1)
    assert not is_refused(breaker)


def test_after_the_pause_one_call_tries_and_the_others_still_wait(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, THRESHOLD)
    clock.now += PAUSE_S
    with breaker.guard():
        assert is_refused(breaker)
    assert not is_refused(breaker)


def test_a_failed_try_starts_another_pause(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, THRESHOLD)
    clock.now += PAUSE_S
    fail(breaker, 1)
    assert is_refused(breaker)
    clock.now += PAUSE_S
    call(breaker)
    assert not is_refused(breaker)


def test_a_caller_who_leaves_during_the_try_hands_it_to_the_next(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, THRESHOLD)
    clock.now += PAUSE_S
    with pytest.raises(KeyboardInterrupt):
        call(breaker, KeyboardInterrupt())
    call(breaker)
    assert not is_refused(breaker)


def test_calls_that_fail_after_the_breaker_opened_do_not_lengthen_the_pause(
    breaker: Breaker, clock: Clock
) -> None:
    def fail_late() -> None:
        with breaker.guard():
            fail(breaker, THRESHOLD)
            clock.now += PAUSE_S / 2
            raise breaker.unavailable()

    with pytest.raises(Unavailable):
        fail_late()
    clock.now += PAUSE_S / 2
    assert not is_refused(breaker)


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgument("IMAGE_TRUNCATED", "A client's mistake."),
        ResourceExhausted("QUEUE_FULL", "Busy is not gone."),
        Unavailable("SPEECH_UNAVAILABLE", "It answered that it misses another."),
    ],
    ids=lambda error: error.reason,
)
def test_what_the_backend_says_is_no_fault(breaker: Breaker, error: ServiceError) -> None:
    fail(breaker, THRESHOLD - 1)
    with pytest.raises(type(error)):
        call(breaker, error)
    fail(breaker, 1)
    assert not is_refused(breaker)


@pytest.mark.parametrize(("left_s", "counts"), [(None, True), (30.0, True), (0.0, False)])
def test_a_deadline_counts_unless_the_caller_set_it(
    breaker: Breaker, left_s: float | None, counts: bool
) -> None:
    token = deadline.set(None if left_s is None else time.monotonic() + left_s)
    try:
        for _ in range(THRESHOLD):
            with pytest.raises(DeadlineExceeded):
                call(breaker, DeadlineExceeded("DEADLINE_EXCEEDED", "Too late."))
    finally:
        deadline.reset(token)
    assert is_refused(breaker) is counts


def test_a_stream_that_breaks_after_its_first_message_is_no_fault(breaker: Breaker) -> None:
    def break_off() -> None:
        with breaker.guard() as answered:
            answered()
            raise breaker.unavailable()

    for _ in range(THRESHOLD):
        with pytest.raises(Unavailable):
            break_off()
    assert not is_refused(breaker)
