"""What may be drawn, and how likely: temperature, top k, top p.

Shapes: W rows, V vocabulary, C candidates.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from services.llm.engine.request import SamplingParams

SMALLEST_NUCLEUS = 1e-6  # top_p 0 keeps the likeliest token
COLDEST = 1e-30  # lower ones take the likeliest token as well
SHORTLIST = 256  # candidates in which a nucleus is looked for before a whole vocabulary is sorted


@dataclass(frozen=True)
class Candidates:
    """Cumulated weights of the tokens that may be drawn; without ids they are the vocabulary in order."""

    cumulative_C: torch.Tensor
    ids_C: torch.Tensor | None = None

    def draw(self, number: float) -> int:
        """The candidate at `number` (0 to 1) of all weight."""
        rank = torch.searchsorted(self.cumulative_C, number * self.cumulative_C[-1], right=True)
        # Rounding may end beyond the last one that weighs anything.
        last = torch.searchsorted(self.cumulative_C, self.cumulative_C[-1])
        rank = torch.minimum(rank, last)
        return int(rank if self.ids_C is None else self.ids_C[rank])


def candidates(logits_WV: torch.Tensor, params: list[SamplingParams]) -> list[Candidates]:
    """Those of each row, on the CPU; a row's do not depend on the other rows."""
    found: dict[int, Candidates] = {}
    open_rows = [row for row, p in enumerate(params) if not p.top_k and p.top_p >= 1]
    short_rows = [row for row, p in enumerate(params) if row not in open_rows and p.top_k <= SHORTLIST]
    if open_rows:
        cumulative_WV = _scaled(logits_WV, params, open_rows).softmax(-1).cumsum(-1).cpu()
        found |= {row: Candidates(cumulative_WV[i]) for i, row in enumerate(open_rows)}
    if short_rows:
        found |= _cut(logits_WV, params, short_rows, SHORTLIST)
    long_rows = [row for row in range(len(params)) if row not in found]
    if long_rows:
        found |= _cut(logits_WV, params, long_rows, logits_WV.shape[-1])
    return [found[row] for row in range(len(params))]


def _cut(
    logits_WV: torch.Tensor, params: list[SamplingParams], rows: list[int], width: int
) -> dict[int, Candidates]:
    """The nucleus p of the top k among the `width` likeliest; rows whose nucleus is wider are left out."""
    vocabulary = logits_WV.shape[-1]
    width = min(width, vocabulary)
    scaled_WV = _scaled(logits_WV, params, rows)
    top_WC, ids_WC = scaled_WV.topk(width)
    top_k_W1 = _column(logits_WV, params, rows, lambda p: min(p.top_k or vocabulary, vocabulary))
    top_WC = top_WC.masked_fill(torch.arange(width, device=top_WC.device) >= top_k_W1, float("-inf"))
    whole_W1 = scaled_WV.logsumexp(-1, keepdim=True)
    total_W1 = torch.where(top_k_W1 < vocabulary, top_WC.logsumexp(-1, keepdim=True), whole_W1)
    weights_WC = (top_WC - total_W1).exp()
    cumulative_WC = weights_WC.cumsum(-1)
    top_p_W1 = _column(logits_WV, params, rows, lambda p: max(p.top_p, SMALLEST_NUCLEUS))
    enough_W1 = (top_k_W1 <= width) | (cumulative_WC[:, -1:] >= top_p_W1)
    inside_WC = cumulative_WC - weights_WC < top_p_W1
    cumulative_WC = (weights_WC * inside_WC).cumsum(-1).cpu()
    ids_WC = ids_WC.cpu()
    enough = enough_W1.squeeze(-1).tolist()
    return {row: Candidates(cumulative_WC[i], ids_WC[i]) for i, row in enumerate(rows) if enough[i]}


def _scaled(logits_WV: torch.Tensor, params: list[SamplingParams], rows: list[int]) -> torch.Tensor:
    """Measured from the likeliest, so that nothing overflows however low the temperature is."""
    chosen_WV = logits_WV[rows].float()
    temperature_W1 = _column(logits_WV, params, rows, lambda p: max(p.temperature, COLDEST))
    return (chosen_WV - chosen_WV.amax(-1, keepdim=True)) / temperature_W1


def _column(
    like: torch.Tensor, params: list[SamplingParams], rows: list[int], get: Callable[[SamplingParams], float]
) -> torch.Tensor:
    return torch.tensor([[get(params[row])] for row in rows], dtype=torch.float32, device=like.device)
