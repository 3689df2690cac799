"""Attention that learns to look at what a question asks for.

Where it is known which tokens of a picture show what is said next, one head of each group, in two middle
layers, is rewarded for looking there, and at the first token of all where nothing shows it. That a name
finds its place takes long to emerge from answers alone; once it does, the rest can be read off there. Of two
pictures, what is read off a token must also tell which one it belongs to.
"""

import torch
import torch.nn.functional as F
from torch import nn

from services.llm.model.attention import DenseAttention
from training.collate import Batch

LAYERS = (1, 2)


class Gaze:
    """Dense attention of a batch; `loss` is what there is to improve about where it looked, and what it saw.

    which: tells the pictures of a conversation apart, values [..., K] in, scores [..., 2] out.
    """

    def __init__(self, batch: Batch, dropout: float, which: nn.Module):
        self._dense = DenseAttention(batch.mask_BTT, dropout)
        self._asks_BT = batch.seen_BTT.any(-1)
        self._batch, self._which = batch, which
        self._of_several_BT = batch.picture_BT.amax(1, keepdim=True).gt(1) & batch.picture_BT.gt(0)
        self.loss = batch.weights_BT.new_zeros(())

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor
    ) -> torch.Tensor:
        if layer in LAYERS and bool(self._asks_BT.any()):
            self.loss = self.loss + self._missed(q_THK, k_TGK) / len(LAYERS)
        if layer == LAYERS[-1] and bool(self._of_several_BT.any()):
            self.loss = self.loss + self._confused(v_TGK)
        return self._dense(layer, q_THK, k_TGK, v_TGK)

    def _missed(self, q_BTHK: torch.Tensor, k_BTGK: torch.Tensor) -> torch.Tensor:
        """Minus the log of the share of attention that falls on the right tokens, on average."""
        rows, heads = self._asks_BT.any(1), q_BTHK.shape[2] // k_BTGK.shape[2]
        q_RGTK = q_BTHK[rows, :, ::heads].transpose(1, 2)
        k_RGTK = k_BTGK[rows].transpose(1, 2)
        scores = (q_RGTK @ k_RGTK.transpose(-1, -2)).float() * q_RGTK.shape[-1] ** -0.5
        scores = scores.masked_fill(~self._batch.mask_BTT[rows].unsqueeze(1), -torch.inf)
        asks_RT = self._asks_BT[rows]
        seen_RTT = self._batch.seen_BTT[rows] | ~asks_RT.unsqueeze(-1)  # no row may be empty
        seen = scores.masked_fill(~seen_RTT.unsqueeze(1), -torch.inf)
        missed_RGT = scores.logsumexp(-1) - seen.logsumexp(-1)
        return missed_RGT.transpose(1, 2)[asks_RT].mean()

    def _confused(self, v_BTGK: torch.Tensor) -> torch.Tensor:
        """How badly the values of two pictures' tokens tell which one they are of."""
        told_NGC = self._which(v_BTGK[self._of_several_BT])
        truth_N1 = self._batch.picture_BT[self._of_several_BT].unsqueeze(1) - 1
        return F.cross_entropy(told_NGC.flatten(0, 1), truth_N1.expand(told_NGC.shape[:2]).flatten())
