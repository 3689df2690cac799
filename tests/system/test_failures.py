"""A process that dies takes nobody with it, and a server that is stopped leaves nothing."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.client import Client, user
from benchmarks.pictures import solid
from benchmarks.processes import is_running
from benchmarks.server import Server, serving
from benchmarks.spawn import Spawned
from tests.system.waiting import until

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]


async def test_without_vision_text_goes_on_and_pictures_come_back_by_themselves(
    server: Server, client: Client
) -> None:
    seen, unseen = user("这是什么？", solid((250, 20, 90))), user("这是什么？", solid((20, 90, 250)))
    assert (await client.ask(seen, max_tokens=4)).outcome == "answered"
    killed = server.pids["vision"]
    os.kill(killed, signal.SIGKILL)

    refused = await client.ask(unseen, max_tokens=4)
    assert (refused.status, refused.error["code"]) == (503, "VISION_UNAVAILABLE")
    assert refused.retry_after.isdecimal()
    assert (await client.ask(user("你好"), max_tokens=4)).outcome == "answered"
    assert (await client.ask(seen, max_tokens=4)).outcome == "answered"

    async def pictures_work() -> bool:
        return (await client.ask(unseen, max_tokens=4)).outcome == "answered"

    await until(pictures_work)
    assert server.pids["vision"] != killed


@pytest.mark.parametrize("end", [Spawned.stop, Spawned.kill], ids=["stopped with Ctrl-C", "killed"])
async def test_no_process_outlives_the_server(end: Callable[[Spawned], None], bundle: Path) -> None:
    with serving(bundle) as server:
        pids = server.pids
        assert pids.keys() == {"vision", "speech", "llm", "gateway"}
        end(server.spawned)

    async def all_are_gone() -> bool:
        return not any(map(is_running, pids.values()))

    await until(all_are_gone, timeout_s=2)
