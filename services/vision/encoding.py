"""What the pipeline makes of one picture, and keeps."""

from dataclasses import dataclass

import torch

from services.vision.checkpoint import GridTHW
from services.vision.text.reader import UNREAD, Reading

LINE_BYTES = 512


@dataclass(frozen=True)
class Encoding:
    """What the encoder made of one picture: [tokens, hidden] on the CPU, and the picture's upright size.

    text: the lines that were read in it.
    """

    embedding: torch.Tensor
    width: int
    height: int
    grid_thw: GridTHW | None = None
    text: Reading = UNREAD

    @property
    def nbytes(self) -> int:
        """Bytes of the embedding, and about those of the text."""
        return self.embedding.nbytes + LINE_BYTES * len(self.text.lines)
