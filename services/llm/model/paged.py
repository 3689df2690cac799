"""Attention over keys and values kept in blocks.

Shapes: T new tokens of all sequences in a row, H query heads, G key heads, R = H / G, K head size,
B sequences with one new token, M blocks of each, S tokens in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from services.llm.model.config import DecoderConfig

UNSEEN = 1 << 40
"""A block index that no token reaches."""


class PagedCache:
    """Keys and values of all layers, in blocks of `block_size` tokens; nobody ever holds `spare_block`."""

    def __init__(
        self, config: DecoderConfig, blocks: int, block_size: int, dtype: torch.dtype, device: torch.device
    ):
        shape = (blocks + 1, block_size, 2, config.num_key_value_heads, config.head_dim)
        # Side by side, so that one copy fetches both. Zeros, not empty: a masked NaN would still spoil a sum.
        self.layers = [
            torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)
        ]
        self.block_size, self.spare_block = block_size, blocks
        self.dtype, self.device = dtype, device
        self.window, self.global_tokens = config.sliding_window, config.global_tokens

    def store(self, layer: int, slots_T: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor) -> None:
        """Writes the keys and values of new tokens into their slots."""
        self.layers[layer].flatten(0, 1).index_copy_(0, slots_T, torch.stack((k_TGK, v_TGK), dim=1))

    def fetch(self, layer: int, table_BM: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of M blocks for each of B sequences, [B, G, S, K]."""
        blocks = self.layers[layer]
        # An embedding look-up copies rows four times as fast as indexing does.
        kept = F.embedding(table_BM, blocks.flatten(1)).view(table_BM.shape[0], -1, *blocks.shape[2:])
        keys_BSGK, values_BSGK = kept.unbind(2)
        return keys_BSGK.transpose(1, 2), values_BSGK.transpose(1, 2)

    def slot(self, block_table: Sequence[int], position: int) -> int:
        """Where a token's keys and values stand."""
        return block_table[position // self.block_size] * self.block_size + position % self.block_size

    def kept(self, block_table: Sequence[int], end: int) -> Sequence[int]:
        """Places in its table of the blocks that a sequence of `end` tokens reads."""
        used = range(-(-end // self.block_size))
        return [i for i in used if block_table[i] >= 0] if self.window else used

    def tokens(self, places_BM: torch.Tensor) -> torch.Tensor:
        """Positions of the tokens in blocks at those places of their tables, [B, S]."""
        offsets = torch.arange(self.block_size, device=self.device)
        return (places_BM[..., None] * self.block_size + offsets).flatten(1)

    def bias(self, seen: torch.Tensor) -> torch.Tensor:
        """The mask as it is added to scores, once for all layers."""
        return torch.where(seen, 0.0, float("-inf")).to(self.dtype)

    def sees(self, queries: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Whether tokens at the positions `queries` see those at `tokens`, two-way spans aside."""
        seen = tokens <= queries
        if self.window:
            seen &= (tokens > queries - self.window) | (tokens < self.global_tokens)
        return seen

    @staticmethod
    def bytes_per_block(config: DecoderConfig, block_size: int, dtype: torch.dtype) -> int:
        per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
        return per_token * block_size * dtype.itemsize


@dataclass(frozen=True)
class Rows:
    """New tokens `start` to `end` of one sequence, the blocks it holds, and its two-way spans.

    A negative block was given back: the window has left it behind.
    """

    start: int
    end: int
    block_table: Sequence[int]
    spans: Sequence[tuple[int, int]] = ()


class SingleAttention:
    """Attention of one new token of each sequence, made of tensors alone; tables padded to one width.

    last_B: the tokens' positions; places_BM: those of the blocks in their tables, UNSEEN for padding; None
    where they count from 0 on.
    """

    def __init__(
        self,
        cache: PagedCache,
        slots_B: torch.Tensor,
        table_BM: torch.Tensor,
        last_B: torch.Tensor,
        places_BM: torch.Tensor | None = None,
    ):
        self._cache, self._slots_B, self._table_BM = cache, slots_B, table_BM
        if places_BM is None:
            tokens_BS = torch.arange(table_BM.shape[1] * cache.block_size, device=cache.device)[None]
        else:
            tokens_BS = cache.tokens(places_BM)
        self._bias_B11S = cache.bias(cache.sees(last_B[:, None], tokens_BS))[:, None, None, :]

    def __call__(
        self, layer: int, q_BHK: torch.Tensor, k_BGK: torch.Tensor, v_BGK: torch.Tensor
    ) -> torch.Tensor:
        self._cache.store(layer, self._slots_B, k_BGK, v_BGK)
        return self.look(layer, q_BHK)

    def look(self, layer: int, q_BHK: torch.Tensor) -> torch.Tensor:
        """The attention alone, where keys and values are stored already."""
        k, v = self._cache.fetch(layer, self._table_BM)
        # The R queries that share a key head stand as R rows, so keys need not be repeated.
        q_BGRK = q_BHK.unflatten(1, (k.shape[1], -1))
        return F.scaled_dot_product_attention(q_BGRK, k, v, self._bias_B11S).flatten(1, 2)


class PagedAttention:
    """One step's attention: stores the new keys and values, then looks at all that its sequences keep.

    Sequences with a single new token come first and share one padded gather; the others go one by one.
    """

    def __init__(self, cache: PagedCache, rows: Sequence[Rows]):
        self._cache = cache
        self._count = next((i for i, row in enumerate(rows) if row.end - row.start > 1), len(rows))
        slots = [cache.slot(row.block_table, place) for row in rows for place in range(row.start, row.end)]
        self._slots_T = self._tensor(slots)
        if self._count:
            self._singles = self._side_by_side(rows[: self._count])
        self._prompts = [(row, *self._prompt(row)) for row in rows[self._count :]]

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor
    ) -> torch.Tensor:
        self._cache.store(layer, self._slots_T, k_TGK, v_TGK)
        outs, at = [], self._count
        if self._count:
            outs.append(self._singles.look(layer, q_THK[:at]))
        for row, table_1M, bias_TS in self._prompts:
            k, v = (x[:, :, : bias_TS.shape[1]] for x in self._cache.fetch(layer, table_1M))
            q = q_THK[at : at + row.end - row.start].transpose(0, 1)
            # A batch axis of one: without it the CPU takes the slow path.
            out = F.scaled_dot_product_attention(q[None], k, v, bias_TS, enable_gqa=True)
            outs.append(out[0].transpose(0, 1))
            at += row.end - row.start
        return torch.cat(outs) if len(outs) > 1 else outs[0]

    def _side_by_side(self, rows: Sequence[Rows]) -> SingleAttention:
        kept = [self._cache.kept(row.block_table, row.end) for row in rows]
        width = max(map(len, kept))
        tables = [[row.block_table[i] for i in own] for row, own in zip(rows, kept, strict=True)]
        table_BM = self._tensor([[*table, *[0] * (width - len(table))] for table in tables])
        places_BM = None
        if self._cache.window:
            places_BM = self._tensor([[*own, *[UNSEEN] * (width - len(own))] for own in kept])
        last_B = self._tensor([row.end - 1 for row in rows])
        return SingleAttention(self._cache, self._slots_T[: len(rows)], table_BM, last_B, places_BM)

    def _prompt(self, row: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Blocks of one sequence, and what it may see: causal, with two-way spans; [1, M] and [T, S]."""
        cache = self._cache
        kept = cache.kept(row.block_table, row.end)
        table_1M = self._tensor([[row.block_table[index] for index in kept]])
        size = len(kept) * cache.block_size - -row.end % cache.block_size
        tokens_1S = cache.tokens(self._tensor([kept]))[:, :size]
        seen_TS = cache.sees(torch.arange(row.start, row.end, device=cache.device)[:, None], tokens_1S)
        for start, end in row.spans:
            if row.start <= start and end <= row.end:
                seen_TS[start - row.start : end - row.start] |= (tokens_1S >= start) & (tokens_1S < end)
        return table_1M, cache.bias(seen_TS)

    def _tensor(self, numbers: Sequence[object]) -> torch.Tensor:
        return torch.tensor(numbers, device=self._cache.device)
