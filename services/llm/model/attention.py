"""Dense attention under an explicit mask: training, and the plain pass that the engine is held against."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class DenseAttention:
    """Scaled dot products among the given tokens only; keeps nothing.

    mask_TT: True where the row's token may see the column's, [..., T, T].
    """

    mask_TT: torch.Tensor
    dropout: float = 0.0

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor
    ) -> torch.Tensor:
        q, k, v = (x.transpose(-3, -2) for x in (q_THK, k_TGK, v_TGK))
        mask = self.mask_TT.unsqueeze(-3)
        out = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=self.dropout, enable_gqa=True)
        return out.transpose(-3, -2)


def prefix_mask(
    length: int, spans: list[tuple[int, int]], window: int = 0, global_tokens: int = 0
) -> torch.Tensor:
    """Causal, except that the tokens of one media span see each other both ways, bool [T, T].

    A `window` lets each token see only so many, itself included, and the first `global_tokens`.
    """
    mask_TT = torch.ones(length, length, dtype=torch.bool).tril()
    if window:
        nearby_TT = mask_TT.triu(1 - window)
        nearby_TT[:, :global_tokens] = True
        mask_TT &= nearby_TT
    for start, end in spans:
        mask_TT[start:end, start:end] = True
    return mask_TT
