"""The CTC head while it learns: characters that sound alike share most of their weights.

A character's row is what the decoder knows of it, mapped, plus the sum over the parts of its reading, plus a
little of its own. So a character that no clip says is still found by its sound. Export folds it into one.
V characters, D width.
"""

import torch
from torch import nn

from services.speech.model.decoder import BOUNDARY, SpeechDecoder
from training.speech.syllables import Syllables


class SharedHead(nn.Module):
    """Makes the head's weight and bias; class 0, the decoder's boundary, is the blank."""

    known_VD: torch.Tensor
    parts_VP: torch.Tensor
    known_bias_V: torch.Tensor

    def __init__(self, decoder: SpeechDecoder, syllables: Syllables):
        super().__init__()
        known_VD = decoder.embedding.weight.detach().clone()
        self.register_buffer("known_VD", known_VD, persistent=False)
        self.register_buffer("known_bias_V", decoder.output_bias.detach().clone(), persistent=False)
        self.register_buffer("parts_VP", torch.tensor(syllables.parts), persistent=False)
        width = known_VD.shape[1]
        self.mapped_DD = nn.Parameter(0.05 * torch.eye(width))
        self.parts = nn.Embedding(syllables.part_count, width)
        self.own_VD = nn.Parameter(torch.zeros_like(known_VD))
        self.blank_bias = nn.Parameter(torch.zeros(1))
        nn.init.zeros_(self.parts.weight)

    def forward(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight [V, D] and bias [V]."""
        shared_VD = nn.functional.embedding_bag(self.parts_VP, self.parts.weight, mode="sum")
        weight_VD = self.known_VD @ self.mapped_DD + shared_VD + self.own_VD
        blank_V = torch.zeros_like(self.known_bias_V)
        blank_V[BOUNDARY] = 1
        return weight_VD, self.known_bias_V + blank_V * self.blank_bias

    @torch.no_grad()
    def unfold(self, weight_VD: torch.Tensor, bias_V: torch.Tensor) -> None:
        """Starts from a folded head: as much as can be is shared, what is left is each row's own."""
        count = self.parts.num_embeddings
        holds_VP = nn.functional.one_hot(self.parts_VP, count).sum(1).to(weight_VD)
        design_VN = torch.cat((self.known_VD, holds_VP), dim=1)
        ridge_NN = torch.eye(design_VN.shape[1])
        shared_ND = torch.linalg.solve(design_VN.T @ design_VN + ridge_NN, design_VN.T @ weight_VD)
        self.mapped_DD.copy_(shared_ND[: len(self.mapped_DD)])
        self.parts.weight.copy_(shared_ND[len(self.mapped_DD) :])
        self.own_VD.copy_(weight_VD - design_VN @ shared_ND)
        self.blank_bias.copy_(bias_V[BOUNDARY] - self.known_bias_V[BOUNDARY])
