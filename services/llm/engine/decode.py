"""Decoding over buffers that never move: a step that a CUDA graph records once and replays.

A step in which each sequence goes on by one token is padded to a bucket, so many rows of so many blocks, and
a few graphs serve all steps. Shapes: B rows, M blocks of each, F facts about a row, V vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from services.llm.engine.scheduler import Chunk
from services.llm.model.decoder import Decoder
from services.llm.model.paged import UNSEEN, PagedCache, SingleAttention

ROW_STEP = 8  # between buckets beyond 8 rows; up to there they are powers of two
FEWEST_TOKENS = 256  # width of the narrowest bucket; each next one is twice as wide


class Bucket(NamedTuple):
    """Rows, and blocks of each."""

    rows: int
    blocks: int

    @classmethod
    def around(cls, chunks: Sequence[Chunk], block_size: int) -> "Bucket":
        """The smallest one that holds them."""
        rows, tokens = len(chunks), max(FEWEST_TOKENS, *(chunk.end for chunk in chunks))
        rows = -(-rows // ROW_STEP) * ROW_STEP if rows > ROW_STEP else _power_of_two(rows)
        return cls(rows, -(-_power_of_two(tokens) // block_size))


def can_decode(chunks: Sequence[Chunk]) -> bool:
    """True when each chunk is one token of an answer, and guesses none."""
    return all(c.size == 1 and c.completes and c.start >= len(c.sequence.request.token_ids) for c in chunks)


class DecodeStep:
    """The step of one bucket: filled in, then computed. Rows left over write to a block that nobody holds."""

    def __init__(self, decoder: Decoder, cache: PagedCache, bucket: Bucket):
        self._decoder, self._cache, self._bucket = decoder, cache, bucket
        self._nobody = self._facts(0, 0, 0, [cache.spare_block])
        self._facts_BF = torch.tensor([self._nobody] * bucket.rows, device=cache.device)

    def fill(self, chunks: Sequence[Chunk]) -> None:
        """All that is to be known about the step, in one copy to the device."""
        rows = [self._about(chunk) for chunk in chunks]
        rows += [self._nobody] * (self._bucket.rows - len(rows))
        self._facts_BF.copy_(torch.tensor(rows))

    def compute(self) -> torch.Tensor:
        """Logits, [B, V]; those of the rows left over mean nothing."""
        ids_B, positions_B, last_B, slots_B = self._facts_BF[:, :4].unbind(1)
        table_BM, *places_BM = self._facts_BF[:, 4:].split(self._bucket.blocks, dim=1)
        attend = SingleAttention(self._cache, slots_B, table_BM, last_B, *places_BM)
        hidden_BD = self._decoder(self._decoder.embed(ids_B), positions_B, attend)
        return self._decoder.logits(hidden_BD)

    def _about(self, chunk: Chunk) -> list[int]:
        sequence, last = chunk.sequence, chunk.start
        position = last + sequence.request.position_delta
        return self._facts(sequence.token_ids[last], position, last, sequence.block_table)

    def _facts(self, token: int, position: int, last: int, block_table: Sequence[int]) -> list[int]:
        """Token, position, index, slot, blocks; and their places where a window leaves some out."""
        cache = self._cache
        kept = cache.kept(block_table, last + 1)
        padding = self._bucket.blocks - len(kept)
        blocks = [*(block_table[place] for place in kept), *[cache.spare_block] * padding]
        places = [*kept, *[UNSEEN] * padding] if cache.window else []
        return [token, position, last, cache.slot(block_table, last), *blocks, *places]


class DecodeGraph:
    """A step whose computation is recorded; a replay launches all its kernels at once."""

    def __init__(self, step: DecodeStep, pool: "torch.cuda._POOL_HANDLE"):
        """Records the step as it is: with rows of nobody. Graphs that share a pool share its memory."""
        self._step, self._graph = step, torch.cuda.CUDAGraph()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            step.compute()  # libraries set themselves up, which a recording could not take
        torch.cuda.current_stream().wait_stream(aside)
        # Other threads embed pictures meanwhile, and may ask for memory.
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._logits_BV = step.compute()

    def fill(self, chunks: Sequence[Chunk]) -> None:
        self._step.fill(chunks)

    def compute(self) -> torch.Tensor:
        """Logits, [B, V], until the next replay of any graph of the pool."""
        self._graph.replay()
        return self._logits_BV


class DecodeSteps:
    """Steps by bucket, made when first needed; as graphs where the device can record them."""

    def __init__(self, decoder: Decoder, cache: PagedCache):
        self._decoder, self._cache = decoder, cache
        self._steps: dict[Bucket, DecodeStep | DecodeGraph] = {}
        self._pool = torch.cuda.graph_pool_handle() if cache.device.type == "cuda" else None

    def logits(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        """What follows each chunk, [chunks, V]; they are such as `can_decode` takes."""
        bucket = Bucket.around(chunks, self._cache.block_size)
        if bucket not in self._steps:
            made = DecodeStep(self._decoder, self._cache, bucket)
            self._steps[bucket] = made if self._pool is None else DecodeGraph(made, self._pool)
        step = self._steps[bucket]
        step.fill(chunks)
        return step.compute()[: len(chunks)]


def _power_of_two(number: int) -> int:
    """The smallest one that is not below."""
    return 1 << (number - 1).bit_length()
