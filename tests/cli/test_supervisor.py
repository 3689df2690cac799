"""The supervisor, over real tiny processes."""

import asyncio
import io
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cli.child import Program
from cli.log import MergedLog
from cli.supervisor import NAME, Backoff, StartError, Supervisor

SERVER = """
import pathlib, signal, sys, time
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
def leave(*_):
    with (folder / "ends").open("a") as ends: ends.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
with (folder / "starts").open("a") as starts: starts.write(name + "\\n")
(folder / name).touch()
print("hello from", name)
while True: time.sleep(0.05)
"""
STUBBORN = """
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[2], "grandchild").write_text(str(grandchild.pid))
pathlib.Path(sys.argv[2], sys.argv[1]).touch()
time.sleep(60)
"""
BROKEN = "import sys; print('the model has no head'); sys.exit(3)"


@dataclass
class House:
    """A folder where the programs leave their traces, and the log they share."""

    folder: Path
    output: io.StringIO = field(default_factory=io.StringIO)

    def program(self, name: str, code: str = SERVER, stop_timeout_s: float = 20.0) -> Program:
        async def ready() -> bool:
            return (self.folder / name).exists()

        command = [sys.executable, "-S", "-c", code, name, str(self.folder)]
        return Program(name, command, ready, stop_timeout_s=stop_timeout_s)

    def lines(self, trace: str) -> list[str]:
        path = self.folder / trace
        return path.read_text().split() if path.exists() else []

    def supervisor(self, *tiers: list[Program]) -> Supervisor:
        names = [NAME, *(program.name for tier in tiers for program in tier)]
        return Supervisor(tiers, MergedLog(names, self.output), Backoff(first_s=0.05, longest_s=0.2))

    @asynccontextmanager
    async def running(self, supervisor: Supervisor) -> AsyncIterator[None]:
        stop, ready = asyncio.Event(), asyncio.Event()

        async def on_ready() -> None:
            ready.set()

        run = asyncio.create_task(supervisor.run(stop, on_ready))
        async with asyncio.timeout(10):
            await ready.wait()
        yield
        stop.set()
        async with asyncio.timeout(10):
            await run


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def never() -> bool:
    return False


async def nothing() -> None:
    return None


async def test_all_start_and_stop_from_the_top_tier_down(house: House) -> None:
    tiers = [house.program("encoder")], [house.program("llm")], [house.program("gateway")]
    async with house.running(house.supervisor(*tiers)):
        assert sorted(house.lines("starts")) == ["encoder", "gateway", "llm"]
        assert house.lines("ends") == []
    assert house.lines("ends") == ["gateway", "llm", "encoder"]
    assert "encoder | hello from encoder" in house.output.getvalue()


async def test_a_program_that_dies_is_started_again(house: House) -> None:
    supervisor = house.supervisor([house.program("encoder"), house.program("other")])
    async with house.running(supervisor):
        os.kill(supervisor.pid("encoder"), signal.SIGKILL)
        await until(lambda: house.lines("starts").count("encoder") == 2)
    assert house.lines("starts").count("other") == 1
    assert "encoder was killed by SIGKILL; starting it again in 0.1 s" in house.output.getvalue()


async def test_a_first_start_that_fails_says_why_and_stops_the_others(house: House) -> None:
    supervisor = house.supervisor([house.program("good"), house.program("bad", BROKEN)])
    with pytest.raises(StartError, match=r"(?s)bad exited with code 3 .*the model has no head"):
        await supervisor.run(asyncio.Event(), nothing)
    assert house.lines("ends") == house.lines("starts")


async def test_a_program_that_never_becomes_ready_is_given_up_in_time(house: House) -> None:
    slow = Program(
        "slow", [sys.executable, "-S", "-c", "import time; time.sleep(60)"], never, ready_timeout_s=0.3
    )
    with pytest.raises(StartError, match="slow was still not ready after 0 s"):
        await house.supervisor([slow]).run(asyncio.Event(), nothing)


async def test_an_overstaying_process_group_is_killed(house: House) -> None:
    supervisor = house.supervisor([house.program("stubborn", STUBBORN, stop_timeout_s=0.3)])
    async with house.running(supervisor):
        pids = [supervisor.pid("stubborn"), int((house.folder / "grandchild").read_text())]
        assert all(map(is_alive, pids))
    await until(lambda: not any(map(is_alive, pids)))
    assert "did not stop within" in house.output.getvalue()


async def test_a_death_is_noticed_while_what_the_program_started_lives_on(house: House) -> None:
    leaving = "import subprocess, sys; subprocess.Popen(['sleep', '60']); sys.exit(3)"
    program = Program("leaving", [sys.executable, "-S", "-c", leaving], never)
    async with asyncio.timeout(30):
        with pytest.raises(StartError, match="leaving exited with code 3"):
            await house.supervisor([program]).run(asyncio.Event(), nothing)


async def test_kill_does_not_wait_for_the_drain(house: House) -> None:
    supervisor = house.supervisor([house.program("stubborn", STUBBORN)])
    started = time.monotonic()
    async with house.running(supervisor):
        supervisor.kill()
    assert time.monotonic() - started < 5
    assert "starting it again" not in house.output.getvalue()


async def test_stop_before_ready_ends_cleanly(house: House) -> None:
    async def forbidden() -> None:
        raise AssertionError("was never ready")

    supervisor = house.supervisor([Program("slow", house.program("slow").command, never)])
    stop = asyncio.Event()
    run = asyncio.create_task(supervisor.run(stop, forbidden))
    await until(lambda: house.lines("starts") == ["slow"])
    stop.set()
    await run
    assert house.lines("ends") == ["slow"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
async def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from pathlib import Path
from tests.cli.test_supervisor import House
async def main():
    house = House(Path(sys.argv[1]))
    supervisor = house.supervisor([house.program("encoder")])
    async with house.running(supervisor):
        Path(sys.argv[1], "pid").write_text(str(supervisor.pid("encoder")))
        await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(tmp_path))
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "", timeout_s=20)
    child = int((tmp_path / "pid").read_text())
    assert is_alive(child)
    parent.kill()
    await parent.wait()
    await until(lambda: not is_alive(child))


@pytest.mark.parametrize(
    ("last_pause_s", "lived_s", "next_pause_s"), [(0, 1, 0.5), (0.5, 1, 1.0), (20, 1, 30.0), (8, 61, 0.5)]
)
def test_backoff_doubles_to_a_limit_and_forgets_after_a_steady_run(
    last_pause_s: float, lived_s: float, next_pause_s: float
) -> None:
    assert Backoff().after(last_pause_s, lived_s) == next_pause_s
