"""The engine: requests in, tokens out, on a thread of its own.

Knows neither gRPC nor asyncio nor text. A step is three verbs: schedule, run, commit.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from services.llm.engine.blocks import BlockPool
from services.llm.engine.ledger import Ledger
from services.llm.engine.pacing import Pace
from services.llm.engine.request import Event, Finished, FinishReason, Request, Sequence
from services.llm.engine.runner import Runner
from services.llm.engine.scheduler import Chunk, Scheduler
from services.llm.engine.stats import Distributions, EngineStats
from services.llm.engine.threads import Threads
from services.llm.model.decoder import Decoder
from services.llm.model.paged import PagedCache

log = logging.getLogger(__name__)


class QueueFull(Exception):
    """All places are taken; later there will be one."""


class RequestTooLong(Exception):
    """More tokens than the cache can ever hold, or a media span that no step can take."""


@dataclass(frozen=True)
class EngineConfig:
    """Limits of the engine.

    max_batch_tokens: tokens of one step; token_time_target: seconds that an answer under way should wait for
    its next token at most, 0 for as much throughput as there is; speculative_tokens: tokens guessed ahead
    while few answers share a step, 0 for none; static_decode: decode over buffers that never move, which on a
    GPU become graphs, None for there alone, and on kernels of our own on a CPU; False for neither.
    """

    kv_cache_bytes: int = 128 << 20
    block_size: int = 16
    max_batch_tokens: int = 512
    max_running: int = 32
    max_requests: int = 256
    prefix_cache: bool = True
    token_time_target: float = 0.0
    speculative_tokens: int = 4
    static_decode: bool | None = None

    def __post_init__(self) -> None:
        if self.max_running >= self.max_batch_tokens:
            raise ValueError("max_running must be below max_batch_tokens, or prompts would never get a turn")


class Engine:
    """Continuous batching over a paged cache; `publish` gets a step's events, on the engine's thread."""

    def __init__(self, decoder: Decoder, config: EngineConfig, publish: Callable[[list[Event]], None]):
        weight, model = decoder.embed_tokens.weight, decoder.config
        block_bytes = PagedCache.bytes_per_block(model, config.block_size, weight.dtype)
        self._blocks = BlockPool(
            max(1, config.kv_cache_bytes // block_bytes),
            config.block_size,
            reuse=config.prefix_cache,
            window=model.sliding_window,
            global_tokens=model.global_tokens,
        )
        self.config = config
        self._scheduler = Scheduler(
            self._blocks,
            max_batch_tokens=config.max_batch_tokens,
            max_running=config.max_running,
            speculative_tokens=config.speculative_tokens,
            pace=Pace(config.token_time_target, config.block_size),
        )
        self._ledger = Ledger(self._scheduler, frozenset(model.eos_token_ids))
        cache = PagedCache(model, self._blocks.count, config.block_size, weight.dtype, weight.device)
        self._runner = Runner(decoder, cache, config.static_decode)
        self._threads = Threads(torch.get_num_threads() if weight.device.type == "cpu" else 1)
        self._publish = publish
        self._inbox: deque[Sequence | str] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._places = self._live = 0
        self._last_beat = time.monotonic()

    # --- from any thread

    @property
    def max_tokens(self) -> int:
        """Longest prompt plus answer that the cache holds."""
        return self._blocks.count * self._blocks.size

    @property
    def stats(self) -> EngineStats:
        running = len(self._scheduler.running)
        return EngineStats(
            waiting=max(0, self._places - running),
            running=running,
            free_blocks=self._blocks.free_count,
            total_blocks=self._blocks.count,
            preemptions=self._scheduler.preemptions,
            **vars(self._ledger.counters),
        )

    @property
    def distributions(self) -> Distributions:
        """How long things took, and how large they were."""
        return self._ledger.distributions

    @property
    def silent_seconds(self) -> float:
        """How long work has been pending without a finished step."""
        return time.monotonic() - self._last_beat if self._live else 0.0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the bounded queue, held from arrival to the end; raises `QueueFull`."""
        with self._wake:
            if self._places >= self.config.max_requests:
                raise QueueFull(f"{self._places} requests are in the house already")
            self._places += 1
        try:
            yield
        finally:
            with self._wake:
                self._places -= 1

    def check(self, request: Request) -> None:
        """Raises `RequestTooLong` for what could never run."""
        if request.max_length > self.max_tokens:
            raise RequestTooLong(f"{request.max_length} tokens do not fit a cache of {self.max_tokens}")
        longest = max((end - start for start, end in request.spans), default=0)
        if longest > self.config.max_batch_tokens:
            limit = self.config.max_batch_tokens
            raise RequestTooLong(f"A medium of {longest} tokens exceeds a step of {limit}")

    def submit(self, request: Request) -> None:
        """Accepts a request; exactly one `Finished` will follow."""
        self.check(request)
        with self._wake:
            if self._stopping:
                raise RuntimeError("the engine has stopped")
            if not self._live:
                self._last_beat = time.monotonic()
            self._live += 1
            self._inbox.append(Sequence(request))
            self._wake.notify()

    def cancel(self, request_id: str) -> None:
        """Ends a request at the next step; unknown and finished ones are ignored."""
        with self._wake:
            self._inbox.append(request_id)
            self._wake.notify()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after its current step; whatever is still under way is cancelled."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread:
            self._thread.join()
        events = self._receive()
        events += [
            self._ledger.finish(sequence, FinishReason.CANCELLED) for sequence in list(self._scheduler)
        ]
        self._tell(events)

    # --- on the engine's thread

    def step(self) -> bool:
        """Schedule, run, commit; False when there was nothing to do."""
        events = self._receive()
        chunks: list[Chunk] = []
        try:
            started = time.monotonic()
            chunks = self._scheduler.schedule()
            if chunks:
                with self._threads.compute(sum(chunk.size for chunk in chunks)):
                    sampled = self._runner.run(chunks)
                self._measure(chunks, time.monotonic() - started)
                events += self._ledger.commit(chunks, sampled)
        except Exception:
            log.exception("A step failed; the sequences in it are given up")
            lost = list(self._scheduler.running if chunks else self._scheduler)
            events += [self._ledger.finish(sequence, FinishReason.FAILED) for sequence in lost]
        self._last_beat = time.monotonic()
        self._tell(events)
        return bool(chunks or events)

    def _loop(self) -> None:
        while not self._stopping:
            if not self.step():
                with self._wake:
                    self._wake.wait_for(lambda: self._inbox or self._stopping)

    def _receive(self) -> list[Event]:
        """Takes in newcomers, and lets go of the cancelled and the late."""
        cancelled = set()
        while self._inbox:
            item = self._inbox.popleft()
            if isinstance(item, str):
                cancelled.add(item)
            else:
                self._scheduler.add(item)
        now = time.monotonic()
        events: list[Event] = []
        for sequence in list(self._scheduler):
            if sequence.request.request_id in cancelled:
                events.append(self._ledger.finish(sequence, FinishReason.CANCELLED))
            elif self._is_late(sequence, now):
                events.append(self._ledger.finish(sequence, FinishReason.DEADLINE))
        return events

    def _is_late(self, sequence: Sequence, now: float) -> bool:
        """Whether the deadline has passed, or would before the first token even at twice the usual pace."""
        deadline = sequence.request.deadline
        return deadline is not None and deadline <= now + self._scheduler.seconds_to_first_token(sequence) / 2

    def _measure(self, chunks: list[Chunk], seconds: float) -> None:
        prompt_tokens = sum(chunk.size for chunk in chunks if chunk.is_prompt)
        answers = sum(not chunk.is_prompt for chunk in chunks)
        self._scheduler.pace.learn(answers, prompt_tokens, seconds)
        self.distributions.step_seconds.add(seconds)
        self.distributions.step_sequences.add(len(chunks))
        self.distributions.step_tokens.add(sum(chunk.size for chunk in chunks))

    def _tell(self, events: list[Event]) -> None:
        with self._wake:
            self._live -= sum(isinstance(event, Finished) for event in events)
        if events:
            self._publish(events)
