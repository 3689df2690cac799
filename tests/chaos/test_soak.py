"""Two thousand requests of every kind against a small cache: all ended by name, nothing kept."""

import gc
from pathlib import Path

import grpc
from prometheus_client import REGISTRY

from autoglm.llm.v1 import llm_pb2_grpc
from servicekit.server import running
from services.llm.service import create_service
from services.llm.settings import LLMSettings
from tests.contract.llm_client import FREE, LLM, start_vision, until
from tests.soak import PLACES, Endings, soak

ROUNDS, REQUESTS = 5, 400
GROWTH_BYTES = 48 << 20
"""More than this from the second round to the last is a leak."""


def resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"autoglm_llm_{name}")


async def test_two_thousand_are_answered_or_refused_and_memory_stays_flat(bundle: Path) -> None:
    async with start_vision(bundle) as vision:
        settings = LLMSettings(
            **FREE,
            model=bundle,
            vision_target=f"127.0.0.1:{vision.port}",
            kv_cache_bytes=1 << 20,
            max_requests=PLACES,
        )
        async with (
            running(await create_service(settings), settings) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            llm = LLM(server, llm_pb2_grpc.LLMServiceStub(channel))
            rounds: list[Endings] = []
            memory: list[int] = []
            for number in range(ROUNDS):
                rounds.append(await soak(llm, REQUESTS, seed=number))
                await until(lambda: gauge("waiting") == gauge("running") == 0)
                assert gauge("free_blocks") == gauge("total_blocks")
                memory.append(resident_bytes())
    print(*(f"{r.answered} answered, {r.left} left, {dict(r.refused)}" for r in rounds), sep="\n")
    print("resident MiB:", [nbytes >> 20 for nbytes in memory])
    assert not any(r.lost for r in rounds)
    assert sum(r.requests for r in rounds) == ROUNDS * REQUESTS
    assert memory[-1] - memory[1] < GROWTH_BYTES
