"""Each process is killed, frozen and restarted while requests come in; the supervisor brings it back."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from benchmarks.processes import is_running
from benchmarks.server import Server
from tests.chaos.mix import Mix, Tally

pytestmark = pytest.mark.chaos

FROZEN_S = 10.0  # longer than a silent peer is waited for
BLAMED: dict[str, set[str]] = {
    "vision": {"VISION_UNAVAILABLE"},
    "speech": set(),
    "llm": {"LLM_UNAVAILABLE"},
    "gateway": set(),
}

Keep = Callable[[Tally], Tally]


async def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


async def freeze(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(FROZEN_S)
    finally:
        os.kill(pid, signal.SIGCONT)


async def restart(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    while is_running(pid):
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", BLAMED)
@pytest.mark.parametrize("harm", [kill, freeze, restart], ids=lambda harm: harm.__name__)
async def test_each_request_is_answered_right_or_told_who_is_missing(
    name: str, harm: Callable[[int], Coroutine[Any, Any, None]], server: Server, mix: Mix, keep: Keep
) -> None:
    tally = keep(await mix.endure(f"{harm.__name__} {name}", lambda: harm(server.pids[name])))
    assert set(tally.named) == BLAMED[name]
    if (name, harm) != ("gateway", kill):  # who dies cannot say so: its clients see the connection end
        assert not tally.lost
