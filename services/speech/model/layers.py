"""What encoder and decoder share: attention that can remember, and the gated feed-forward.

B batch, N queries, T keys, H heads, D width.
"""

from dataclasses import dataclass

import torch
from torch import nn

NORM_EPS = 1e-12


@dataclass
class KeyValue:
    """Keys and values of one attention layer, each [B, H, T, D / H]."""

    keys: torch.Tensor
    values: torch.Tensor


class Attention(nn.Module):
    """Multi-head attention; keys and values are made apart, so that a caller may keep them."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def remember(self, x_BTD: torch.Tensor) -> KeyValue:
        """Keys and values of what can be attended to."""
        return KeyValue(self._split(self.key(x_BTD)), self._split(self.value(x_BTD)))

    def forward(
        self, x_BND: torch.Tensor, memory: KeyValue, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attends to the memory where the mask, broadcast to [B, H, N, T], is True."""
        queries_BHND = self._split(self.query(x_BND))
        mixed_BHND = nn.functional.scaled_dot_product_attention(
            queries_BHND, memory.keys, memory.values, attn_mask=mask
        )
        return self.output(mixed_BHND.transpose(1, 2).flatten(2))

    def weights(self, x_BND: torch.Tensor, memory: KeyValue) -> torch.Tensor:
        """How much each query looks at each key: [B, H, N, T]."""
        queries_BHND = self._split(self.query(x_BND))
        scores_BHNT = queries_BHND @ memory.keys.transpose(-1, -2) / queries_BHND.shape[-1] ** 0.5
        return scores_BHNT.softmax(-1)

    def _split(self, x_BND: torch.Tensor) -> torch.Tensor:
        return x_BND.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class GatedFeedForward(nn.Module):
    """A wide layer of which one half opens or shuts the other (https://arxiv.org/abs/1612.08083)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.widen = nn.Linear(width, 2 * hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, x_BND: torch.Tensor) -> torch.Tensor:
        return self.narrow(nn.functional.glu(self.widen(x_BND)))
