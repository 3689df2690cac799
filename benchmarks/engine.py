"""The engine alone, beside transformers' `generate` in the same process: the same weights, the same prompts.

Weights are random, so speed is all that is compared. Runs of both alternate, because a shared machine's
speed drifts; the ratio of a round is more to be trusted than either number.
"""

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from benchmarks.report import Row
from servicekit import torchaudio_guard
from services.llm.engine.engine import Engine, EngineConfig
from services.llm.engine.request import Event, Request, SamplingParams, Token
from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Decoder
from services.llm.model.packed import can_pack, pack

SIZES = {
    "30M": DecoderConfig(8192, 512, 1536, 7, 8, 2, 64, 4096, gated=False),
    "400M": DecoderConfig(32768, 1024, 4096, 22, 16, 4, 64, 4096, gated=False),
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Run:
    """What a batch of answers took; the first token is that of the whole batch."""

    tokens_per_second: float
    first_token_seconds: float


class Contestant(Protocol):
    """Answers a batch of prompts of equal length with `new_tokens` each, greedily."""

    def __call__(self, prompts: list[list[int]], new_tokens: int) -> Run: ...


class OurEngine:
    """The engine stepped in this thread, its weights packed as the service packs them."""

    def __init__(self, decoder: Decoder):
        if can_pack(decoder):
            pack(decoder)
        self._events: list[Event] = []
        # Without the prefix cache: a prompt asked twice must be computed twice. Without guesses: random
        # weights repeat themselves, which would flatter.
        config = EngineConfig(
            kv_cache_bytes=256 << 20, max_batch_tokens=2048, prefix_cache=False, speculative_tokens=0
        )
        self._engine = Engine(decoder, config, self._events.extend)

    def __call__(self, prompts: list[list[int]], new_tokens: int) -> Run:
        started, first, told = time.perf_counter(), 0.0, 0
        for index, prompt in enumerate(prompts):
            self._engine.submit(Request(f"{index}", prompt, SamplingParams(max_tokens=new_tokens)))
        while self._engine.step():
            told += sum(isinstance(event, Token) for event in self._events)
            self._events.clear()
            if not first and told >= len(prompts):
                first = time.perf_counter() - started
        return Run(told / (time.perf_counter() - started), first)


class Transformers:
    """`Glm4ForCausalLM.generate` over one static batch."""

    def __init__(self, decoder: Decoder, dtype: torch.dtype):
        torchaudio_guard.install()
        from transformers import Glm4Config, Glm4ForCausalLM

        settings = decoder.config.to_dict()
        for ours in ("architectures", "gated", "sandwich_norms"):
            settings.pop(ours)
        self._device = decoder.embed_tokens.weight.device
        with self._device:
            model: Any = Glm4ForCausalLM(Glm4Config(**settings, pad_token_id=0))
        self._model = model.to(dtype).eval()
        state = {f"model.{name}": tensor for name, tensor in decoder.state_dict().items()}
        state["lm_head.weight"] = state.pop("model.lm_head.weight")
        self._model.load_state_dict(state)
        self._model.generation_config.eos_token_id = None

    @torch.inference_mode()
    def __call__(self, prompts: list[list[int]], new_tokens: int) -> Run:
        ids = torch.tensor(prompts, device=self._device)
        seconds = []
        for count in (1, new_tokens):
            started = time.perf_counter()
            self._model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False
            )
            seconds.append(time.perf_counter() - started)
        return Run(len(prompts) * new_tokens / seconds[1], seconds[0])


def measure(
    size: str, dtype: str, batches: list[int], prompt_tokens: int, new_tokens: int, rounds: int, threads: int
) -> list[Row]:
    """One row per batch: medians of both, and the median of the rounds' ratios."""
    with _threads(threads):
        decoder = _random_decoder(SIZES[size], DTYPES[dtype])
        theirs = Transformers(decoder, DTYPES[dtype])
        contestants: tuple[Contestant, Contestant] = (OurEngine(decoder), theirs)
        return [
            {"model": size, "dtype": dtype, "batch": batch}
            | _alternate(contestants, batch, prompt_tokens, new_tokens, rounds, SIZES[size].vocab_size)
            for batch in batches
        ]


def _alternate(
    contestants: tuple[Contestant, Contestant],
    batch: int,
    prompt_tokens: int,
    new_tokens: int,
    rounds: int,
    vocabulary: int,
) -> Row:
    rng = random.Random(batch)
    prompts = [[rng.randrange(vocabulary) for _ in range(prompt_tokens)] for _ in range(batch)]
    for contestant in contestants:
        contestant(prompts, 4)
    runs = [tuple(contestant(prompts, new_tokens) for contestant in contestants) for _ in range(rounds)]
    ours, theirs = zip(*runs, strict=True)
    return {
        "engine_tokens_per_s": round(statistics.median(run.tokens_per_second for run in ours), 1),
        "transformers_tokens_per_s": round(statistics.median(run.tokens_per_second for run in theirs), 1),
        "ratio": round(statistics.median(a.tokens_per_second / b.tokens_per_second for a, b in runs), 2),
        "engine_ttft_ms": round(statistics.median(run.first_token_seconds for run in ours) * 1e3, 1),
        "transformers_ttft_ms": round(statistics.median(run.first_token_seconds for run in theirs) * 1e3, 1),
    }


@torch.inference_mode()
def _random_decoder(config: DecoderConfig, dtype: torch.dtype) -> Decoder:
    torch.manual_seed(0)
    decoder = Decoder(config).requires_grad_(False).eval()
    for name, parameter in decoder.named_parameters():
        parameter.normal_(1.0 if "norm" in name else 0.0, 0.05)
    return decoder.to(dtype)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
