"""Two of each: whoever is told to stop finishes what it has begun, and the other takes what is new."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.chaos.mix import RUNNING, Mix, Tally
from tests.chaos.replicas import Replica, started

pytestmark = pytest.mark.chaos

# Callers look for a replica that is back every 2 seconds: so long the next one to go must still take calls.
DRAIN = {"drain_seconds": 20, "lame_duck_seconds": 3}

Keep = Callable[[Tally], Tally]
Pairs = dict[str, list[Replica]]


def both(addresses: list[str]) -> str:
    """A target of gRPC that names several addresses."""
    return f"ipv4:{','.join(addresses)}"


@pytest.fixture
async def pairs(bundle: Path) -> AsyncIterator[Pairs]:
    vision = [Replica("vision", {**DRAIN, "model": bundle, "cache_bytes": 0}) for _ in range(2)]
    vision_target = both([replica.address for replica in vision])
    llm_settings = {**DRAIN, "model": bundle, "vision_target": vision_target, "embedding_cache_bytes": 0}
    llm = [Replica("llm", llm_settings) for _ in range(2)]
    gateway_settings = {
        "drain_seconds": 20,
        "llm_target": both([replica.address for replica in llm]),
        "llm_health_target": both([replica.health for replica in llm]),
        "vision_health_target": both([replica.health for replica in vision]),
        "speech_health_target": "",
    }
    gateway = [Replica("gateway", gateway_settings) for _ in range(2)]
    async with started(*vision, *llm, *gateway):
        yield {"vision": vision, "llm": llm, "gateway": gateway}


@pytest.fixture
async def mix(pairs: Pairs) -> AsyncIterator[Mix]:
    async with Mix(*(f"http://{replica.address}" for replica in pairs["gateway"])) as mix:
        yield mix


async def test_replicas_are_replaced_and_told_to_stop_without_a_lost_answer(
    pairs: Pairs, mix: Mix, keep: Keep
) -> None:
    """One test, since six processes take a while to start."""
    for kind, replicas in pairs.items():

        async def replace_one_by_one(replicas: list[Replica] = replicas) -> None:
            for replica in replicas:
                assert await replica.stop() == 0
                await replica.start()

        rolled = keep(await mix.endure(f"rolling restart of two {kind}", replace_one_by_one))
        assert rolled.right == rolled.requests, kind

    for kind in ("llm", "gateway"):
        leaving = pairs[kind][0]

        async def tell_to_stop(leaving: Replica = leaving) -> None:
            os.kill(leaving.pid, signal.SIGTERM)

        ended = keep(await mix.finish(f"SIGTERM {kind}, answers running", tell_to_stop))
        assert ended.right == RUNNING, kind
        assert await leaving.stop() == 0
        await leaving.start()
