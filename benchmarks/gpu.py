"""A preset with made-up weights on a GPU: its engine beside transformers', then the whole server.

Decoding one answer reads every weight once per token, so the memory's speed is its limit: the share of it
that is reached says how much is left to gain.
"""

import statistics
import time
from itertools import islice
from pathlib import Path

import torch

from benchmarks.client import Client, user
from benchmarks.engine import Contestant, OurEngine, Run, Transformers
from benchmarks.errors import BenchmarkError
from benchmarks.pictures import photos
from benchmarks.report import Row, spread
from benchmarks.server import serving
from services.llm.checkpoint import Bundle
from services.llm.model.decoder import Decoder

DTYPE = torch.bfloat16
SCREEN = (1080, 2400)  # width and height: about 3,100 tokens
ANSWER_TOKENS = 32
START_TIMEOUT_S = 600.0
COPIED_BYTES = 4 << 30
PROMPTS = {"decode, 1 answer": (1, 32, 128), "decode, 32 answers": (32, 32, 128), "prefill": (1, 3072, 1)}
"""Name -> answers, prompt tokens, answer tokens."""


def require_gpu() -> Row:
    """Which GPU; BenchmarkError where there is none."""
    if not torch.cuda.is_available():
        raise BenchmarkError("This was not run: torch finds no CUDA device here.")
    return {"gpu": torch.cuda.get_device_name(), "dtype": str(DTYPE).removeprefix("torch.")}


def measure_engine(preset: str, rounds: int) -> tuple[list[Row], Row]:
    """A row for each shape of work, and the memory's speed."""
    decoder = Bundle.find(Path(preset)).load(DTYPE, torch.device("cuda")).decoder
    copy = _copy_bytes_per_second()
    read = sum(p.nbytes for p in decoder.parameters()) - decoder.embed_tokens.weight.nbytes
    theirs = Transformers(decoder, DTYPE)  # first: ours rearranges the weights
    contestants = OurEngine(decoder), theirs
    rows = [_row(name, decoder, contestants, rounds, read / copy) for name in PROMPTS]
    return rows, {"copy_GB_per_s": round(copy / 1e9, 1)}


async def measure_server(preset: str, questions: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Screenshot questions, each about a new one; and the phases of the start."""
    with serving(preset, {"AUTOGLM_LLM__KV_CACHE_BYTES": str(4 << 30)}, START_TIMEOUT_S) as server:
        async with Client(server.url) as client:
            replies = [
                await client.ask(user("屏幕上有什么？", screen), max_tokens=ANSWER_TOKENS, temperature=0.0)
                for screen in islice(photos(*SCREEN, seed), 1 + questions)
            ]
        first_token_s = server.ready_s + replies[0].first_token_s
        phases = {"ready": server.ready_s, "first token": first_token_s, **server.phases()}
    if lost := next((reply for reply in replies if reply.outcome != "answered"), None):
        raise BenchmarkError(f"A question was not answered: {lost.status} {lost.error}")
    later = replies[1:]
    row = {
        "questions": len(later),
        "prompt_tokens": later[0].usage.get("prompt_tokens", 0),
        "answer_tokens": later[0].tokens,
        **{f"first_token_{key}_s": value for key, value in spread([r.first_token_s for r in later]).items()},
        **{f"total_{key}_s": value for key, value in spread([r.total_s for r in later]).items()},
    }
    return [row], [{"phase": phase, "seconds": round(seconds, 2)} for phase, seconds in phases.items()]


def _row(
    name: str, decoder: Decoder, contestants: tuple[Contestant, ...], rounds: int, limit_s: float
) -> Row:
    answers, prompt_tokens, new_tokens = PROMPTS[name]
    generator = torch.Generator().manual_seed(0)
    shape = (answers, prompt_tokens)
    prompts = torch.randint(decoder.config.vocab_size, shape, generator=generator).tolist()
    for contestant in contestants:
        contestant(prompts, min(4, new_tokens))
    runs = [tuple(contestant(prompts, new_tokens) for contestant in contestants) for _ in range(rounds)]
    speeds = [tuple(_speed(run, answers, prompt_tokens, new_tokens) for run in both) for both in runs]
    ours = statistics.median(speed[0] for speed in speeds)
    row: Row = {
        "work": name,
        "engine_tokens_per_s": round(ours, 1),
        "transformers_tokens_per_s": round(statistics.median(speed[1] for speed in speeds), 1),
        "ratio": round(statistics.median(a / b for a, b in speeds), 2),
    }
    share = 100 * ours / answers * limit_s if new_tokens > 1 else 0.0
    return row | {"memory_percent": round(share, 1)}


def _speed(run: Run, answers: int, prompt_tokens: int, new_tokens: int) -> float:
    """Tokens per second after the first one of each answer; of the prompt, where there is no other."""
    if new_tokens == 1:
        return answers * prompt_tokens / run.first_token_seconds
    total = answers * new_tokens / run.tokens_per_second
    return answers * (new_tokens - 1) / (total - run.first_token_seconds)


def _copy_bytes_per_second() -> float:
    """Bytes read and written by a plain copy, the best of several."""
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    seconds = []
    for _ in range(5):
        torch.cuda.synchronize()
        started = time.perf_counter()
        target.copy_(source)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * COPIED_BYTES / min(seconds)
