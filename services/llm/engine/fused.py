"""Decoding by `FusedDecoder`: what its kernels must know of a step of one token for each sequence."""

from collections.abc import Sequence

import torch

from services.llm.engine.scheduler import Chunk
from services.llm.model.fused import FusedDecoder

ABOUT = 3  # facts of a row before its blocks


class FusedSteps:
    """Lays a step out, and has it computed."""

    def __init__(self, fused: FusedDecoder):
        self._fused = fused

    def logits(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        """What follows each chunk, [chunks, V]; they are such as `can_decode` takes."""
        width = max(len(chunk.sequence.block_table) for chunk in chunks)
        facts_BF = torch.tensor([_facts(chunk, width) for chunk in chunks])
        ids_B, positions_B, last_B = facts_BF[:, :ABOUT].T.contiguous()
        return self._fused.logits(ids_B, positions_B, facts_BF[:, ABOUT:].contiguous(), last_B)


def _facts(chunk: Chunk, width: int) -> list[int]:
    """Token, position, index, and blocks as wide as the widest."""
    sequence, last = chunk.sequence, chunk.start
    padding = [0] * (width - len(sequence.block_table))
    return [
        sequence.token_ids[last],
        last + sequence.request.position_delta,
        last,
        *sequence.block_table,
        *padding,
    ]
