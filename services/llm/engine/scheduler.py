"""Who runs in the next step, and how many tokens of each."""

import time
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass

from services.llm.engine.blocks import BlockPool
from services.llm.engine.pacing import Pace
from services.llm.engine.request import Sequence

SPECULATIVE_ANSWERS = 4
SMALLEST_SHARE = 32  # tokens; smaller pieces of prompts cost more than they give


@dataclass(frozen=True)
class Chunk:
    """Tokens `start` to `end` of one sequence, and guesses at those that follow, computed in one step."""

    sequence: Sequence
    start: int
    end: int
    drafts: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        return self.end - self.start + len(self.drafts)

    @property
    def token_ids(self) -> list[int]:
        """What the decoder reads."""
        return [*self.sequence.token_ids[self.start : self.end], *self.drafts]

    @property
    def completes(self) -> bool:
        """True when a new token follows from it."""
        return self.end == len(self.sequence.token_ids)

    @property
    def is_prompt(self) -> bool:
        """True unless it only goes on from the latest token."""
        return self.end - self.start > 1


class Scheduler:
    """Continuous batching: answers under way first, then prompts in pieces, then newcomers by rank."""

    def __init__(
        self,
        blocks: BlockPool,
        *,
        max_batch_tokens: int,
        max_running: int,
        speculative_tokens: int = 0,
        pace: Pace | None = None,
    ):
        self.blocks, self.pace = blocks, pace or Pace()
        self.max_batch_tokens, self.max_running = max_batch_tokens, max_running
        self.speculative_tokens = speculative_tokens
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.preemptions = 0

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
        chunks = [Chunk(s, s.computed, s.computed + 1, self._guess(s, len(answering))) for s in answering]
        left = self.max_batch_tokens - sum(chunk.size for chunk in chunks)
        chunks += self._prompts(self.pace.prompt_tokens(len(answering), left))
        return sorted(chunks, key=lambda chunk: chunk.size > 1)

    def seconds_to_first_token(self, sequence: Sequence) -> float:
        """The least it may take; 0 for what runs no prompt, or has yet to find out what of it is cached."""
        if not sequence.block_table or sequence.generated:
            return 0.0
        return self.pace.prompt_seconds(sequence.uncomputed)

    def _guess(self, sequence: Sequence, answers: int) -> tuple[int, ...]:
        """Tokens that may follow, while so few answers share the step that a check costs next to nothing."""
        most = min(self.speculative_tokens, self.max_batch_tokens // (2 * answers) - 1)
        most = min(most, sequence.request.sampling.max_tokens - sequence.generated - 1)
        if answers > SPECULATIVE_ANSWERS or most < 1:
            return ()
        drafts = sequence.lookup.propose(sequence.token_ids, most)
        if not self.blocks.can_append(sequence, drafts=len(drafts)):
            return ()
        self.blocks.append(sequence, drafts=len(drafts))
        return drafts

    def _prompts(self, budget: int) -> list[Chunk]:
        """By rank; each leaves half of the budget to those behind, and what they leave goes to the first."""
        ends: dict[Sequence, int] = {}
        for sequence in self._prefilling():
            share = min(budget, max(SMALLEST_SHARE, -(-budget // 2)))
            end = _cut(sequence, sequence.computed, share, whole_span=not ends)
            budget -= end - sequence.computed
            ends[sequence] = end
            if budget <= 0:
                break
        for sequence, end in ends.items():
            if budget > 0:
                ends[sequence] = _cut(sequence, end, budget)
                budget -= ends[sequence] - end
        return [Chunk(s, s.computed, end) for s, end in ends.items() if end > s.computed]

    def _prefilling(self) -> Iterator[Sequence]:
        """Sequences with a prompt to compute; newcomers are let in as long as someone asks for more."""
        yield from [s for s in self.running if s.uncomputed > 1]
        while self.waiting and len(self.running) < self.max_running and self.pace.admits(len(self.running)):
            # A block for each answer under way, or the newcomer would soon be sent back.
            if not self.blocks.can_allocate(self.waiting[0], spare=len(self.running)):
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
        self.preemptions += 1
        self.remove(sequence)
        self.add(sequence)


def _rank(sequence: Sequence) -> float:
    return sequence.rank


def _cut(sequence: Sequence, start: int, budget: int, *, whole_span: bool = False) -> int:
    """Where a chunk of at most `budget` tokens from `start` on ends: never inside a media span.

    With `whole_span` a span that is larger than the budget is taken whole, so that it can run at all.
    """
    end = min(start + budget, len(sequence.token_ids))
    span = sequence.span_across(end)
    if span is None:
        return end
    before, after = span
    if before > start:
        return before
    return after if whole_span else start
