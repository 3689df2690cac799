"""The cross-modal gating unit, and how it scales a message.

One gate per user message that carries media, from that message's own tokens: the mean feature of each
modality goes through one linear layer; absent modalities are masked out before the softmax; then the
message's tokens of each modality are scaled by weight x number of modalities present. Equal weights are
the identity, and text alone passes unchanged with weights exactly (1, 0, 0).
Shapes: B messages, T tokens, D hidden, 3 modalities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import nn


class Modality(IntEnum):
    """Places of the modalities in the gate's input and output."""

    TEXT = 0
    IMAGE = 1
    AUDIO = 2


NO_MODALITY = -1
TEXT_ALONE = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Piece:
    """A run of prompt tokens of one modality inside one user message."""

    message: int
    modality: Modality
    start: int
    end: int


@dataclass(frozen=True)
class MessageGate:
    """How much text, image and audio of one message count; the three add up to 1."""

    message: int
    weights: tuple[float, float, float]


class GatingUnit(nn.Module):
    """Mean features of the modalities in, weights and token scales out."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.proj = nn.Linear(len(Modality) * hidden_size, len(Modality))

    def forward(self, x_BTD: torch.Tensor, modality_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights [B, 3] and scales [B, T] of one message each; tokens tagged `NO_MODALITY` keep scale 1."""
        member_B3T = torch.stack([modality_BT == m for m in Modality], dim=1)
        count_B3 = member_B3T.sum(-1)
        present_B3 = count_B3 > 0
        means_B3D = (member_B3T.to(x_BTD.dtype) @ x_BTD) / count_B3.clamp(min=1).unsqueeze(-1)
        logits_B3 = self.proj(means_B3D.flatten(1))
        weights_B3 = logits_B3.masked_fill(~present_B3, float("-inf")).softmax(dim=-1)
        factor_B3 = weights_B3 * present_B3.sum(-1, keepdim=True)
        scales_BT = (factor_B3.unsqueeze(1) @ member_B3T.to(x_BTD.dtype)).squeeze(1)
        return weights_B3, scales_BT.masked_fill(modality_BT == NO_MODALITY, 1.0)


@torch.inference_mode()
def fuse(gate: GatingUnit | None, x_TD: torch.Tensor, pieces: Sequence[Piece]) -> list[MessageGate]:
    """Scales the media messages of a prompt in place, and says by which weights.

    x_TD holds the embeddings of the whole prompt, media already in their places. Without a gate nothing
    is scaled and nothing is reported.
    """
    if gate is None:
        return []
    gates = []
    for message in sorted({piece.message for piece in pieces if piece.modality is not Modality.TEXT}):
        modality_T = torch.full((x_TD.shape[0],), NO_MODALITY, device=x_TD.device)
        for piece in pieces:
            if piece.message == message:
                modality_T[piece.start : piece.end] = piece.modality
        weights_B3, scales_BT = gate(x_TD[None], modality_T[None])
        x_TD *= scales_BT[0, :, None]
        text, image, audio = weights_B3[0].tolist()
        gates.append(MessageGate(message, (text, image, audio)))
    return gates
