"""Logits to tokens, for a whole batch at once.

Each sequence draws one number per token from a generator of its own, so an answer depends neither on who
else is in the batch nor on how much was drafted. Shapes: N rows of logits, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from services.llm.engine.candidates import candidates
from services.llm.engine.penalties import Penalties
from services.llm.engine.request import Logprobs, Sampled, SamplingParams, Sequence


@dataclass(frozen=True)
class Ask:
    """A sequence whose next token is wanted: one row of logits, and one more after each draft."""

    sequence: Sequence
    drafts: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        return 1 + len(self.drafts)

    @property
    def params(self) -> SamplingParams:
        return self.sequence.request.sampling


class Sampler:
    """Chooses tokens; remembers what penalised sequences have said."""

    def __init__(self) -> None:
        self._penalties = Penalties()

    def sample(self, logits_NV: torch.Tensor, asks: list[Ask]) -> list[Sampled]:
        """What each sequence goes on with; the rows of one ask follow those of the one before."""
        firsts = [0]
        for ask in asks:
            firsts.append(firsts[-1] + ask.rows)
        raw_NV = logits_NV
        penalised = [
            (row, a.sequence, a.drafts) for row, a in zip(firsts, asks, strict=False) if a.params.penalised
        ]
        if penalised:
            logits_NV = logits_NV.float().clone()
            self._penalties.apply(logits_NV, penalised)
        likeliest = logits_NV.argmax(-1).tolist()
        drawn = self._draw(logits_NV, firsts, asks)
        sampled = []
        for row, ask in zip(firsts, asks, strict=False):
            tokens = drawn[row] if row in drawn else _verified(iter(likeliest[row:]), ask.drafts)
            wanted = ask.params.top_logprobs
            logprobs = [] if wanted is None else _logprobs(raw_NV[row : row + len(tokens)], tokens, wanted)
            sampled.append(Sampled(tokens, logprobs))
        return sampled

    @staticmethod
    def _draw(logits_NV: torch.Tensor, firsts: list[int], asks: list[Ask]) -> dict[int, list[int]]:
        """Tokens of the sequences that take chances, by the first row of each."""
        warm = [(row, ask) for row, ask in zip(firsts, asks, strict=False) if ask.params.temperature > 0]
        if not warm:
            return {}
        rows = [row + i for row, ask in warm for i in range(ask.rows)]
        params = [ask.params for _, ask in warm for _ in range(ask.rows)]
        choices = iter(candidates(logits_NV[rows], params))
        drawn = {}
        for row, ask in warm:
            own = [next(choices) for _ in range(ask.rows)]
            # A generator, so that no number is drawn for a row behind a wrong draft.
            drawn[row] = _verified((c.draw(ask.sequence.random.random()) for c in own), ask.drafts)
        return drawn


def _verified(choices: Iterator[int], drafts: tuple[int, ...]) -> list[int]:
    """Takes choices for as long as the drafts before them were the right ones."""
    tokens = [next(choices)]
    for draft in drafts:
        if draft != tokens[-1]:
            break
        tokens.append(next(choices))
    return tokens


def _logprobs(logits_NV: torch.Tensor, tokens: list[int], wanted: int) -> list[Logprobs]:
    """Before temperature and penalties."""
    logprobs_NV = logits_NV.float().log_softmax(-1)
    own = logprobs_NV[range(len(tokens)), tokens].tolist()
    values, ids = (x.tolist() for x in logprobs_NV.topk(wanted))
    return [Logprobs(own[i], tuple(zip(ids[i], values[i], strict=True))) for i in range(len(tokens))]
