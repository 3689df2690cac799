"""Many questions about different pictures at once: how each ends, and what it costs in memory."""

from collections import Counter
from collections.abc import Sequence

from benchmarks.client import Client, Reply, user
from benchmarks.pictures import solids
from benchmarks.processes import Memory
from benchmarks.report import Row, spread
from benchmarks.server import Server

QUESTION = "这是什么颜色？"


async def measure(
    url: str, counts: Sequence[int], seed: int, server: Server | None
) -> tuple[list[Row], list[Row]]:
    """One burst per count: how it ended and, with a server of our own, the memory of each process."""
    bursts, memory = [], []
    async with Client(url) as client:
        await client.ask(user(QUESTION, *solids(1, seed)))
        for number, count in enumerate(counts):
            pictures = solids(count, seed + 1 + number)
            before = server.memory if server else {}
            bursts.append(_burst(await client.ask_all([[user(QUESTION, picture)] for picture in pictures])))
            after = server.memory if server else {}
            memory += [_memory(count, name, before[name], after[name]) for name in before]
    return bursts, memory


def _burst(replies: Sequence[Reply]) -> Row:
    outcomes = Counter(reply.outcome for reply in replies)
    answered = [reply for reply in replies if reply.outcome == "answered"]
    return {
        "at_once": len(replies),
        **{outcome: outcomes[outcome] for outcome in ("answered", "refused", "lost")},
        "first_token_p50_s": spread([reply.first_token_s for reply in answered] or [0])["p50"],
        "last_answer_s": round(max(reply.total_s for reply in replies), 2),
    }


def _memory(at_once: int, process: str, before: Memory, after: Memory) -> Row:
    return {
        "at_once": at_once,
        "process": process,
        "before_MiB": round(before.now),
        "after_MiB": round(after.now),
        "peak_MiB": round(after.peak),
    }
