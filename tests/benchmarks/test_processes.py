"""Processes as /proc shows them."""

import os
import subprocess
import sys

import pytest

from benchmarks.processes import children, cpu_seconds, is_running, memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SLEEP = [sys.executable, "-c", "input()"]


def test_a_child_is_found_with_its_command_until_it_ends() -> None:
    with subprocess.Popen(SLEEP, stdin=subprocess.PIPE) as child:
        assert children(os.getpid())[child.pid] == SLEEP
        assert is_running(child.pid)
    assert child.pid not in children(os.getpid())
    assert not is_running(child.pid)


def test_a_child_that_nobody_has_waited_for_is_not_running() -> None:
    with subprocess.Popen(SLEEP, stdin=subprocess.PIPE) as child:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(child.pid)


def test_memory_is_in_mebibytes_and_never_above_its_peak() -> None:
    own = memory(os.getpid())
    assert 5 < own.now <= own.peak < 100_000


def test_computing_takes_seconds() -> None:
    began = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) < began + 0.05:
        sum(range(10_000))
    assert began > 0
