"""A short soak; the long one is a drill (tests/chaos)."""

from pathlib import Path

from prometheus_client import REGISTRY

from tests.contract.llm_client import StartLLM, start_vision, until
from tests.soak import PLACES, soak

REQUESTS = 200


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"autoglm_llm_{name}")


async def test_two_hundred_of_every_kind_are_answered_or_refused_and_leave_nothing_behind(
    start_llm: StartLLM, tiny_bundle: Path
) -> None:
    async with (
        start_vision(tiny_bundle) as vision,
        start_llm(
            vision_target=f"127.0.0.1:{vision.port}", kv_cache_bytes=1 << 20, max_requests=PLACES
        ) as llm,
    ):
        endings = await soak(llm, REQUESTS, seed=1)
        assert not endings.lost
        assert endings.requests == REQUESTS
        assert endings.answered > REQUESTS // 3
        assert endings.left > 0
        assert endings.refused
        await until(lambda: gauge("waiting") == gauge("running") == 0)
        assert gauge("free_blocks") == gauge("total_blocks")
