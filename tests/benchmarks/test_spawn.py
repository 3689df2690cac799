"""Real processes, started and stopped."""

import sys
import time

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.spawn import spawned

# A shell ignores Ctrl-C for what it starts in the background, and so would all below it.
LISTENING = "import os, signal, time; signal.signal(signal.SIGINT, signal.{how}); "
WAITING = "print(os.environ['NAME'], flush=True); time.sleep(60)"
PATIENT = LISTENING.format(how="default_int_handler") + WAITING
DEAF = LISTENING.format(how="SIG_IGN") + WAITING
NAME = {"NAME": "x"}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_process_is_waited_for_and_stopped() -> None:
    with spawned(python(PATIENT), NAME) as one:
        assert one.wait_until(lambda: one.log.read_text() == "x\n", 30) > 0
        assert one.process.poll() is None
    assert one.process.poll() is not None
    assert not one.log.exists()


def test_one_that_ends_before_it_is_ready_says_what_it_said() -> None:
    broken = python("raise SystemExit('no such model')")
    with spawned(broken, {}) as one, pytest.raises(BenchmarkError, match="no such model"):
        one.wait_until(lambda: False, 30)


def test_one_that_takes_too_long_is_given_up() -> None:
    started = time.monotonic()
    with spawned(python(PATIENT), NAME) as one, pytest.raises(BenchmarkError, match="did not start"):
        one.wait_until(lambda: False, 0.2)
    assert time.monotonic() - started < 30


def test_one_that_does_not_listen_is_killed() -> None:
    with spawned(python(DEAF), NAME) as one:
        one.wait_until(lambda: one.log.read_text() == "x\n", 30)
        one.kill()
        assert one.process.poll() is not None
