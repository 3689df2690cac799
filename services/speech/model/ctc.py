"""Reading the CTC head (https://doi.org/10.1145/1143844.1143891): its best path, and how well a text fits.

S encoder frames, V vocabulary; class 0, the decoder's boundary, is the blank.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from services.speech.model.decoder import BOUNDARY

BLANK = BOUNDARY


@dataclass(frozen=True)
class Spike:
    """A character of the best path: its frames, end excluded, and its highest probability in them."""

    id: int
    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class BestPath:
    """The best path of the frames heard up to here; grows chunk by chunk, whatever the chunks."""

    spikes: tuple[Spike, ...] = ()
    frames: int = 0
    last: int = BLANK
    """Class of the last frame: the same class in the next one makes no new character."""

    @property
    def ids(self) -> list[int]:
        """The characters."""
        return [spike.id for spike in self.spikes]

    def extend(self, log_probabilities_SV: torch.Tensor) -> "BestPath":
        """The path with further frames."""
        spikes, last = list(self.spikes), self.last
        best = log_probabilities_SV.max(-1)
        classes, probabilities = best.indices.tolist(), best.values.exp().tolist()
        for frame, (current, probability) in enumerate(zip(classes, probabilities, strict=True), self.frames):
            if current != BLANK and current == last:
                begun = spikes[-1]
                spikes[-1] = Spike(current, begun.start, frame + 1, max(begun.probability, probability))
            elif current != BLANK:
                spikes.append(Spike(current, frame, frame + 1, probability))
            last = current
        return BestPath(tuple(spikes), self.frames + len(classes), last)


def fit(log_probabilities_SV: torch.Tensor, ids: Sequence[int]) -> float:
    """Log-probability of a text, summed over all its paths; minus infinity when the frames cannot hold it."""
    loss = F.ctc_loss(
        log_probabilities_SV[:, None].float(),
        torch.tensor([ids], dtype=torch.long, device=log_probabilities_SV.device).view(1, len(ids)),
        torch.tensor([len(log_probabilities_SV)]),
        torch.tensor([len(ids)]),
        blank=BLANK,
        reduction="sum",
    )
    return -loss.item()
