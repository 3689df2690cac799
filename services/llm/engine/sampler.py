"""Logits to tokens, for a whole batch at once.

Each sequence draws one number per token from a generator of its own, so an answer does not depend on who
else is in the batch. Shapes: B sequences, V vocabulary.
"""

from collections.abc import Callable

import torch

from services.llm.engine.request import SamplingParams, Sequence

SMALLEST_NUCLEUS = 1e-6  # top_p 0 keeps the likeliest token


def sample(logits_BV: torch.Tensor, sequences: list[Sequence]) -> list[int]:
    """The next token of each sequence."""
    params = [sequence.request.sampling for sequence in sequences]
    logits_BV = logits_BV.float()
    if any(p.penalised for p in params):
        logits_BV = _penalise(logits_BV, sequences)
    tokens_B = logits_BV.argmax(-1)
    rows = [row for row, p in enumerate(params) if p.temperature > 0]
    if rows:
        tokens_B[rows] = _draw(logits_BV[rows], [sequences[row] for row in rows])
    return tokens_B.tolist()


def _column(
    sequences: list[Sequence], get: Callable[[SamplingParams], float], device: torch.device
) -> torch.Tensor:
    return torch.tensor([[get(s.request.sampling)] for s in sequences], dtype=torch.float32, device=device)


def _penalise(logits_BV: torch.Tensor, sequences: list[Sequence]) -> torch.Tensor:
    """Repetition (arXiv:1909.05858) counts prompt and answer; frequency and presence the answer alone."""
    device = logits_BV.device
    seen_BV = torch.zeros_like(logits_BV, dtype=torch.bool)
    said_BV = torch.zeros_like(logits_BV)
    for row, sequence in enumerate(sequences):
        if sequence.request.sampling.penalised:
            ids = torch.tensor(sequence.token_ids, device=device)
            seen_BV[row, ids] = True
            answer = ids[len(sequence.request.token_ids) :]
            said_BV[row].index_add_(0, answer, torch.ones(len(answer), device=device))
    repetition_B1 = _column(sequences, lambda p: p.repetition_penalty, device)
    repeated_BV = torch.where(logits_BV > 0, logits_BV / repetition_B1, logits_BV * repetition_B1)
    logits_BV = torch.where(seen_BV, repeated_BV, logits_BV)
    logits_BV = logits_BV - said_BV * _column(sequences, lambda p: p.frequency_penalty, device)
    return logits_BV - (said_BV > 0) * _column(sequences, lambda p: p.presence_penalty, device)


def _draw(logits_BV: torch.Tensor, sequences: list[Sequence]) -> torch.Tensor:
    """Samples from the top k of the nucleus p by inverting the cumulative distribution."""
    device = logits_BV.device
    vocabulary = logits_BV.shape[-1]
    logits_BV = logits_BV / _column(sequences, lambda p: p.temperature, device)
    sorted_BV, order_BV = logits_BV.sort(dim=-1, descending=True, stable=True)
    top_k_B1 = _column(sequences, lambda p: p.top_k or vocabulary, device)
    beyond_BV = torch.arange(vocabulary, device=device) >= top_k_B1
    probs_BV = sorted_BV.masked_fill(beyond_BV, float("-inf")).softmax(-1)
    before_BV = probs_BV.cumsum(-1) - probs_BV
    top_p_B1 = _column(sequences, lambda p: p.top_p, device).clamp(min=SMALLEST_NUCLEUS)
    probs_BV = probs_BV.masked_fill(before_BV >= top_p_B1, 0.0)
    cumulative_BV = probs_BV.cumsum(-1)
    draws_B1 = torch.tensor([[s.random.random()] for s in sequences], device=device) * cumulative_BV[:, -1:]
    last_B1 = (probs_BV > 0).sum(-1, keepdim=True) - 1
    rank_B1 = torch.searchsorted(cumulative_BV, draws_B1, right=True).minimum(last_B1)
    return order_BV.gather(-1, rank_B1).squeeze(-1)
