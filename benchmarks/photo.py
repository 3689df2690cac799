"""How long one question takes: about a new photo, about one seen before, and without any."""

from collections.abc import Sequence
from itertools import islice

from benchmarks.client import Client, Reply, user
from benchmarks.errors import BenchmarkError
from benchmarks.pictures import photos
from benchmarks.report import Row, spread

FIRST_QUESTION = "描述这张图片。"
SECOND_QUESTION = "图片里有什么？"
WARM_UP = 2


async def measure(url: str, count: int, width: int, height: int, seed: int) -> list[Row]:
    """One question after the other. Raises BenchmarkError when one is not answered."""
    files = list(islice(photos(width, height, seed), WARM_UP + count))
    kinds: dict[str, list[Reply]] = {"new photo": [], "seen photo": [], "text only": []}
    async with Client(url) as client:
        for number, file in enumerate(files):
            replies = [
                await client.ask(user(FIRST_QUESTION, file)),
                await client.ask(user(SECOND_QUESTION, file)),
                await client.ask(user(f"你好，我是{seed + number}号。")),
            ]
            if failed := next((reply for reply in replies if reply.outcome != "answered"), None):
                raise BenchmarkError(f"A question was not answered: {failed.status} {failed.error}")
            if number >= WARM_UP:
                for kind, reply in zip(kinds, replies, strict=True):
                    kinds[kind].append(reply)
    return [_row(kind, replies) for kind, replies in kinds.items()]


def _row(kind: str, replies: Sequence[Reply]) -> Row:
    first = spread([reply.first_token_s * 1e3 for reply in replies])
    total = spread([reply.total_s * 1e3 for reply in replies])
    tokens = spread([reply.usage.get("completion_tokens", 0) for reply in replies])
    return {
        "question": kind,
        "count": len(replies),
        "first_token_p50_ms": round(first["p50"], 1),
        "first_token_p95_ms": round(first["p95"], 1),
        "total_p50_ms": round(total["p50"], 1),
        "total_p95_ms": round(total["p95"], 1),
        "tokens_p50": int(tokens["p50"]),
    }
