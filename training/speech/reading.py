"""Teacher forcing: what the decoder has written before each character, and the character it should write."""

from collections.abc import Sequence

import torch

from services.speech.model.decoder import BOUNDARY
from services.speech.model.recogniser import RecogniserModel

NOTHING = -100
"""Where a shorter text of the batch has no character: the loss leaves it out."""


def written_and_wanted(texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts as ids to what was written, boundary first, and what should follow, boundary last: [B, N]."""
    longest = max(map(len, texts)) + 1
    written_BN = torch.full((len(texts), longest), BOUNDARY)
    wanted_BN = torch.full((len(texts), longest), NOTHING)
    for row, text in enumerate(texts):
        written_BN[row, 1 : len(text) + 1] = torch.tensor(text, dtype=torch.long)
        wanted_BN[row, : len(text) + 1] = torch.tensor([*text, BOUNDARY])
    return written_BN, wanted_BN


def read_texts(
    model: RecogniserModel, written_BN: torch.Tensor, states_BSD: torch.Tensor, real_B11S: torch.Tensor
) -> torch.Tensor:
    """Logits [B, N, V] of what follows each character."""
    logits_BNV: torch.Tensor = model.decoder(written_BN, model.decoder.listen(states_BSD, real_B11S))
    return logits_BNV
