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

from services.llm.engine.blocks import BlockPool
from services.llm.engine.request import Event, Finished, FinishReason, Request, Sequence, Token
from services.llm.engine.runner import Runner
from services.llm.engine.scheduler import Chunk, Scheduler
from services.llm.model.decoder import Decoder
from services.llm.model.paged import PagedCache

log = logging.getLogger(__name__)


class QueueFull(Exception):
    """All places are taken; later there will be one."""


class RequestTooLong(Exception):
    """More tokens than the cache can ever hold, or a media span that no step can take."""


@dataclass(frozen=True)
class EngineConfig:
    """Limits of the engine; `max_batch_tokens` bounds the tokens of one step."""

    kv_cache_bytes: int = 128 << 20
    block_size: int = 16
    max_batch_tokens: int = 512
    max_running: int = 32
    max_requests: int = 256
    prefix_cache: bool = True

    def __post_init__(self) -> None:
        if self.max_running >= self.max_batch_tokens:
            raise ValueError("max_running must be below max_batch_tokens, or prompts would never get a turn")


@dataclass(frozen=True)
class EngineStats:
    """What the engine looks like from outside."""

    waiting: int
    running: int
    free_blocks: int
    total_blocks: int
    steps: int
    generated_tokens: int
    prefix_hit_tokens: int


class Engine:
    """Continuous batching over a paged cache; `publish` gets a step's events, on the engine's thread."""

    def __init__(self, decoder: Decoder, config: EngineConfig, publish: Callable[[list[Event]], None]):
        weight = decoder.embed_tokens.weight
        block_bytes = PagedCache.bytes_per_block(decoder.config, config.block_size, weight.dtype)
        self._blocks = BlockPool(
            max(1, config.kv_cache_bytes // block_bytes), config.block_size, reuse=config.prefix_cache
        )
        self.config = config
        self._eos = frozenset(decoder.config.eos_token_ids)
        self._scheduler = Scheduler(
            self._blocks, max_batch_tokens=config.max_batch_tokens, max_running=config.max_running
        )
        cache = PagedCache(decoder.config, self._blocks.count, config.block_size, weight.dtype, weight.device)
        self._runner = Runner(decoder, cache)
        self._publish = publish
        self._inbox: deque[Sequence | str] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._places = self._live = 0
        self._steps = self._generated = self._prefix_hits = 0
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
            steps=self._steps,
            generated_tokens=self._generated,
            prefix_hit_tokens=self._prefix_hits,
        )

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
        events += [self._finish(sequence, FinishReason.CANCELLED) for sequence in list(self._scheduler)]
        self._publish(events)

    # --- on the engine's thread

    def step(self) -> bool:
        """Schedule, run, commit; False when there was nothing to do."""
        events = self._receive()
        chunks: list[Chunk] = []
        try:
            chunks = self._scheduler.schedule()
            if chunks:
                events.extend(self._commit(chunks, self._runner.run(chunks)))
        except Exception:
            log.exception("A step failed; the sequences in it are given up")
            lost = list(self._scheduler.running if chunks else self._scheduler)
            events += [self._finish(sequence, FinishReason.FAILED) for sequence in lost]
        self._last_beat = time.monotonic()
        if events:
            self._publish(events)
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
                events.append(self._finish(sequence, FinishReason.CANCELLED))
            elif sequence.request.deadline is not None and sequence.request.deadline <= now:
                events.append(self._finish(sequence, FinishReason.DEADLINE))
        return events

    def _commit(self, chunks: list[Chunk], tokens: list[int]) -> Iterator[Event]:
        """Writes down what the step computed, and says what came of it."""
        self._steps += 1
        answers = iter(tokens)
        for chunk in chunks:
            sequence, completes = chunk.sequence, chunk.completes
            sequence.steps += 1
            self._prefix_hits += sequence.cached_tokens if sequence.steps == 1 else 0
            sequence.computed = chunk.end
            self._blocks.seal(sequence)
            if completes:
                yield from self._accept(sequence, next(answers))

    def _accept(self, sequence: Sequence, token: int) -> Iterator[Event]:
        sequence.token_ids.append(token)
        self._generated += 1
        if token in self._eos:
            yield self._finish(sequence, FinishReason.STOP)
            return
        yield Token(sequence.request.request_id, token)
        if sequence.generated >= sequence.request.sampling.max_tokens:
            yield self._finish(sequence, FinishReason.LENGTH)

    def _finish(self, sequence: Sequence, reason: FinishReason) -> Finished:
        self._scheduler.remove(sequence)
        with self._wake:
            self._live -= 1
        started = time.monotonic() if sequence.started_at is None else sequence.started_at
        return Finished(
            sequence.request.request_id,
            reason,
            sequence.cached_tokens,
            sequence.generated,
            sequence.steps,
            started - sequence.request.arrival,
        )
