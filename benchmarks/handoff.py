"""What it costs that an embedding travels from vision to llm, beside the time to the first token.

Each picture is asked about twice. The first time everything is done; the second time vision still has the
embedding but the llm service does not (its caches are off), so its encode call is the hand-off alone:
picture bytes down, digest, embedding up in chunks, checks.
"""

import tempfile
from pathlib import Path

from benchmarks.bundles import write_wide_bundle
from benchmarks.client import Client, Reply, user
from benchmarks.errors import BenchmarkError
from benchmarks.pictures import solids
from benchmarks.report import Row, spread
from benchmarks.server import serving
from cli.bundle import DEFAULT_MODEL

QUESTION = "这是什么颜色？"
WARM_UP = 1
ENVIRONMENT = {
    "AUTOGLM_LLM__EMBEDDING_CACHE_BYTES": "0",
    "AUTOGLM_LLM__PREFIX_CACHE": "false",
    "AUTOGLM_LLM__MAX_BATCH_TOKENS": "4096",  # a picture is computed in one step
}


async def measure(model: Path | None, count: int, wide_count: int, seed: int) -> list[Row]:
    """The bundled model's few tokens, then 26 MiB."""
    model = model or DEFAULT_MODEL
    rows = [await _measure(model.name, model, count, seed)]
    with tempfile.TemporaryDirectory() as folder:
        wide = write_wide_bundle(Path(folder) / "random-wide", model / "llm" / "tokenizer.json")
        rows.append(await _measure(wide.name, wide, wide_count, seed))
    return rows


async def _measure(name: str, model: Path, count: int, seed: int) -> Row:
    with serving(model, ENVIRONMENT) as server:
        async with Client(server.url) as client:
            pairs = [
                (await _ask(client, picture, "ENCODED"), await _ask(client, picture, "ENCODER_CACHE"))
                for picture in solids(WARM_UP + count, seed)
            ][WARM_UP:]
    media = [new.receipt["media"][0] for new, _ in pairs]
    hand_off_ms = [again.receipt["media"][0]["elapsed_ms"] for _, again in pairs]
    first_token_ms = [new.receipt["first_token_ms"] for new, _ in pairs]
    shares = [part / whole for part, whole in zip(hand_off_ms, first_token_ms, strict=True)]
    return {
        "model": name,
        "count": count,
        "tokens": media[0]["token_count"],
        "MiB_up": round(media[0]["received_bytes"] / (1 << 20), 3),
        "hand_off_p50_ms": round(spread(hand_off_ms)["p50"], 1),
        "forward_p50_ms": round(spread([medium["forward_ms"] for medium in media])["p50"], 1),
        "first_token_p50_ms": round(spread(first_token_ms)["p50"], 1),
        "share_p50_percent": round(100 * spread(shares)["p50"], 1),
    }


async def _ask(client: Client, picture: bytes, source: str) -> Reply:
    """One short answer; BenchmarkError unless the embedding came from where it should."""
    reply = await client.ask(user(QUESTION, picture), max_tokens=2)
    found = [medium["source"] for medium in reply.receipt.get("media", ())]
    if found != [f"MEDIA_SOURCE_{source}"]:
        raise BenchmarkError(f"Wanted an embedding from {source}, got {found}: {reply.status} {reply.error}")
    return reply
