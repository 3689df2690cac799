"""What the pipeline makes of one clip, and keeps."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Encoding:
    """What the recogniser made of one clip: [tokens, hidden] on the CPU, what was said, for how long."""

    embedding: torch.Tensor
    transcript: str
    seconds: float

    @property
    def nbytes(self) -> int:
        """Bytes of the embedding and the transcript."""
        return self.embedding.nbytes + len(self.transcript.encode())
