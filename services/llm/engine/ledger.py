"""Writes down what a step computed, and says what came of it."""

import time
from collections.abc import Iterator
from itertools import zip_longest

from services.llm.engine.request import Event, Finished, FinishReason, Sampled, Sequence, Token
from services.llm.engine.scheduler import Chunk, Scheduler
from services.llm.engine.stats import Counters, Distributions

NOTHING = Sampled([])


class Ledger:
    """Turns samples into tokens and ends; knows neither threads nor who listens."""

    def __init__(self, scheduler: Scheduler, eos: frozenset[int]):
        self._scheduler, self._blocks, self._eos = scheduler, scheduler.blocks, eos
        self.counters, self.distributions = Counters(), Distributions()

    def commit(self, chunks: list[Chunk], sampled: list[Sampled]) -> Iterator[Event]:
        """What there is to tell after a step; `sampled`: one for each chunk that completes its sequence."""
        now, answers = time.monotonic(), iter(sampled)
        self.counters.steps += 1
        for chunk in chunks:
            sequence, completes = chunk.sequence, chunk.completes
            self._count_chunk(chunk)
            sequence.steps += 1
            sequence.computed = chunk.end
            new = next(answers) if completes else NOTHING
            tokens, reason = self._cut(sequence, new.tokens)
            if completes:
                self._count_tokens(chunk, len(new.tokens), now)
                sequence.token_ids += new.tokens[: len(tokens) + (reason is FinishReason.STOP)]
                sequence.computed = min(chunk.end + len(new.tokens) - 1, len(sequence.token_ids))
            self._blocks.seal(sequence)
            self.counters.expired_blocks += self._blocks.expire(sequence)
            for token, logprobs in zip_longest(tokens, new.logprobs[: len(tokens)]):
                yield Token(sequence.request.request_id, token, logprobs)
            if reason is not None:
                yield self.finish(sequence, reason)

    def finish(self, sequence: Sequence, reason: FinishReason) -> Finished:
        """Lets go of a sequence; the one terminal event it gets."""
        self._scheduler.remove(sequence)
        return Finished(
            sequence.request.request_id,
            reason,
            sequence.cached_tokens,
            sequence.generated,
            sequence.steps,
            sequence.queue_seconds,
        )

    def _cut(self, sequence: Sequence, tokens: list[int]) -> tuple[list[int], FinishReason | None]:
        """What of the new tokens is told, and why the answer ends with them if it does."""
        left = sequence.request.sampling.max_tokens - sequence.generated
        for index, token in enumerate(tokens[:left]):
            if token in self._eos:
                return tokens[:index], FinishReason.STOP
        return tokens[:left], FinishReason.LENGTH if len(tokens) >= left else None

    def _count_chunk(self, chunk: Chunk) -> None:
        sequence = chunk.sequence
        if not sequence.steps:
            self.counters.prefix_hit_tokens += sequence.cached_tokens
            self.distributions.queue_seconds.add(sequence.queue_seconds)
        if chunk.is_prompt or not sequence.generated:
            self.counters.prefill_tokens += chunk.end - chunk.start

    def _count_tokens(self, chunk: Chunk, tokens: int, now: float) -> None:
        sequence = chunk.sequence
        self.counters.generated_tokens += tokens
        if chunk.drafts:
            self.counters.drafted_tokens += len(chunk.drafts)
            self.counters.accepted_tokens += tokens - 1
            sequence.lookup.learn(len(chunk.drafts), tokens - 1, len(sequence.token_ids) + tokens)
        if sequence.token_at is not None:
            self.distributions.token_interval_seconds.add((now - sequence.token_at) / tokens, tokens)
        sequence.token_at = now
