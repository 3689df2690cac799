"""Who runs in the next step, and how many tokens of each."""

import time
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass

from services.llm.engine.blocks import BlockPool
from services.llm.engine.request import Sequence


@dataclass(frozen=True)
class Chunk:
    """Tokens `start` to `end` of one sequence, computed in one step."""

    sequence: Sequence
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def completes(self) -> bool:
        """True when a new token follows from it."""
        return self.end == len(self.sequence.token_ids)


class Scheduler:
    """Continuous batching: answers under way first, then prompts in pieces, then newcomers by rank."""

    def __init__(self, blocks: BlockPool, *, max_batch_tokens: int, max_running: int):
        self.blocks = blocks
        self.max_batch_tokens, self.max_running = max_batch_tokens, max_running
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []

    def __iter__(self) -> Iterator[Sequence]:
        yield from self.running
        yield from self.waiting

    def add(self, sequence: Sequence) -> None:
        insort(self.waiting, sequence, key=_rank)

    def remove(self, sequence: Sequence) -> None:
        """Forgets a sequence and frees its blocks."""
        self.blocks.release(sequence)
        (self.running if sequence in self.running else self.waiting).remove(sequence)

    def schedule(self) -> list[Chunk]:
        """Chunks of the next step, single tokens first. A step may exceed its budget by one media span."""
        self._extend_running()
        answering = [s for s in self.running if s.uncomputed == 1]
        chunks = [Chunk(s, s.computed, s.computed + 1) for s in answering]
        budget = self.max_batch_tokens - len(chunks)
        whole_span = True
        for sequence in self._prefilling():
            end = _cut(sequence, budget, whole_span)
            if end > sequence.computed:
                chunks.append(Chunk(sequence, sequence.computed, end))
                budget -= chunks[-1].size
                whole_span = False
            if budget <= 0:
                break
        return sorted(chunks, key=lambda chunk: chunk.size > 1)

    def _prefilling(self) -> Iterator[Sequence]:
        """Sequences with a prompt to compute; newcomers are let in as long as someone asks for more."""
        yield from [s for s in self.running if s.uncomputed > 1]
        while self.waiting and len(self.running) < self.max_running:
            if not self.blocks.can_allocate(self.waiting[0]):
                return
            sequence = self.waiting.pop(0)
            self.blocks.allocate(sequence)
            if sequence.started_at is None:
                sequence.started_at, sequence.cached_tokens = time.monotonic(), sequence.computed
            insort(self.running, sequence, key=_rank)
            yield sequence

    def _extend_running(self) -> None:
        """Gives every running sequence the block its next token needs, at the cost of the last in rank."""
        index = 0
        while index < len(self.running):
            sequence = self.running[index]
            if self.blocks.can_append(sequence):
                self.blocks.append(sequence)
                index += 1
            else:
                self._preempt(self.running[-1])

    def _preempt(self, sequence: Sequence) -> None:
        """Sends a sequence back to the queue; its keys and values are computed again later."""
        self.remove(sequence)
        self.add(sequence)


def _rank(sequence: Sequence) -> tuple[int, float]:
    return sequence.rank


def _cut(sequence: Sequence, budget: int, whole_span: bool) -> int:
    """Where a chunk of at most `budget` tokens ends: never inside a media span.

    With `whole_span` a span that is larger than the budget is taken whole, so that it can run at all.
    """
    end = min(sequence.computed + budget, len(sequence.token_ids))
    span = sequence.span_across(end)
    if span is None:
        return end
    start, stop = span
    if start > sequence.computed:
        return start
    return stop if whole_span else sequence.computed
