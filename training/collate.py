"""Samples as tensors, padded to the longest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from services.llm.model.fusion import NO_MODALITY
from training.samples import IGNORE, Sample


@dataclass(frozen=True)
class Batch:
    """B samples padded to T tokens, and G gates.

    picture_BT numbers the pictures of a row, from 1; 0 is no picture's token. seen_BTT marks, for each token,
    those that it should look at, none if that is not known. gate_row_G says which sample a gate belongs to,
    modality_GT which tokens it weighs.
    """

    ids_BT: torch.Tensor
    others_BT: torch.Tensor
    weights_BT: torch.Tensor
    positions_BT: torch.Tensor
    targets_BT: torch.Tensor
    mask_BTT: torch.Tensor
    picture_BT: torch.Tensor
    seen_BTT: torch.Tensor
    gate_row_G: torch.Tensor
    modality_GT: torch.Tensor

    @property
    def image_BT(self) -> torch.Tensor:
        """True for the tokens of pictures."""
        return self.picture_BT > 0

    def to(self, device: torch.device) -> Self:
        """The same batch on another device."""
        return type(self)(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def collate(samples: Sequence[Sample]) -> Batch:
    """Pads the samples; pictures keep the order of the rows."""
    length = max(len(sample.ids) for sample in samples)

    def pad(rows: Sequence[Sequence[float]], value: float) -> torch.Tensor:
        return torch.tensor([[*row, *[value] * (length - len(row))] for row in rows])

    branches_BT = pad([sample.branches for sample in samples], -1)
    row, column = branches_BT.unsqueeze(2), branches_BT.unsqueeze(1)
    mask_BTT = ((column == 0) | (column == row)) & torch.ones(length, length, dtype=torch.bool).tril()
    spans_BT = pad([sample.spans for sample in samples], 0)
    same_BTT = spans_BT.unsqueeze(2) == spans_BT.unsqueeze(1)
    picture_BT = torch.zeros(len(samples), length, dtype=torch.long)
    for index, sample in enumerate(samples):
        for number, (start, end) in enumerate(sample.pictures, start=1):
            picture_BT[index, start:end] = number
    seen_BTT = torch.zeros_like(mask_BTT)
    for index, sample in enumerate(samples):
        for at, places in enumerate(sample.seen):
            if places:
                seen_BTT[index, at, list(places)] = True
    gates = [(index, gate) for index, sample in enumerate(samples) for gate in sample.gates]
    return Batch(
        ids_BT=pad([sample.ids for sample in samples], 0),
        others_BT=pad([sample.others for sample in samples], 0),
        weights_BT=pad([sample.weights for sample in samples], 1.0),
        positions_BT=pad([sample.positions for sample in samples], 0),
        targets_BT=pad([sample.targets for sample in samples], IGNORE),
        mask_BTT=mask_BTT | (same_BTT & (spans_BT > 0).unsqueeze(2)),
        picture_BT=picture_BT,
        seen_BTT=seen_BTT,
        gate_row_G=torch.tensor([index for index, _ in gates], dtype=torch.long),
        modality_GT=pad([gate for _, gate in gates], NO_MODALITY)
        if gates
        else torch.zeros(0, length, dtype=torch.long),
    )
