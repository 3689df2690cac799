"""From the start of `autoglm serve` to its ready line, and to its first token."""

import asyncio
import statistics
from pathlib import Path

from benchmarks.client import Client, user
from benchmarks.errors import BenchmarkError
from benchmarks.report import Row, spread
from benchmarks.server import Server, serving

START_TIMEOUT_S = 600.0


def measure(model: Path | None, runs: int) -> tuple[list[Row], list[Row]]:
    """Starts of servers, the first of which may find files that no cache holds; and the phases' medians."""
    seconds: dict[str, list[float]] = {}
    for _ in range(runs):
        with serving(model, timeout_s=START_TIMEOUT_S) as server:
            for name, value in _timings(server).items():
                seconds.setdefault(name, []).append(value)
    ready = seconds.pop("ready")
    return (
        [{"runs": runs, "first": round(ready[0], 3), **spread(ready)}],
        [{"phase": name, "p50": round(statistics.median(values), 3)} for name, values in seconds.items()],
    )


def _timings(server: Server) -> dict[str, float]:
    first_token_s = server.ready_s + asyncio.run(_first_token_s(server.url))
    return {"ready": server.ready_s, "first token": first_token_s, **server.phases()}


async def _first_token_s(url: str) -> float:
    async with Client(url) as client:
        reply = await client.ask(user("你好"), max_tokens=1)
    if reply.outcome != "answered":
        raise BenchmarkError(f"The first question was not answered: {reply.status} {reply.error}")
    return reply.first_token_s
