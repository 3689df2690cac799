"""Attention over keys and values kept in blocks.

Shapes: T new tokens of all sequences in a row, H query heads, G key heads, R = H / G, K head size,
B sequences with one new token, S tokens kept, N slots = blocks x block size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from services.llm.model.config import DecoderConfig


class PagedCache:
    """Keys and values of all layers, in blocks of `block_size` tokens."""

    def __init__(
        self, config: DecoderConfig, blocks: int, block_size: int, dtype: torch.dtype, device: torch.device
    ):
        shape = (config.num_hidden_layers, blocks, block_size, config.num_key_value_heads, config.head_dim)
        # Zeros, not empty: a masked NaN would still spoil a weighted sum.
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.block_size = block_size

    @staticmethod
    def bytes_per_block(config: DecoderConfig, block_size: int, dtype: torch.dtype) -> int:
        per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
        return per_token * block_size * dtype.itemsize


@dataclass(frozen=True)
class Rows:
    """New tokens `start` to `end` of one sequence, the blocks it holds, and its two-way spans."""

    start: int
    end: int
    block_table: Sequence[int]
    spans: Sequence[tuple[int, int]] = ()


class PagedAttention:
    """One step's attention: stores the new keys and values, then looks at all that its sequences keep.

    Sequences with a single new token come first and share one padded gather; the others go one by one.
    """

    def __init__(self, cache: PagedCache, rows: Sequence[Rows]):
        self._cache, self._size = cache, cache.block_size
        self._device = cache.keys.device
        self._singles = next((i for i, row in enumerate(rows) if row.end - row.start > 1), len(rows))
        self._slots_T = self._tensor([slot for row in rows for slot in self._slots(row)])
        if self._singles:
            self._table_BM, self._mask_B11S = self._pad(rows[: self._singles])
        self._prompts = [(row, *self._prompt(row)) for row in rows[self._singles :]]

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor
    ) -> torch.Tensor:
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        keys.flatten(0, 1).index_copy_(0, self._slots_T, k_TGK)
        values.flatten(0, 1).index_copy_(0, self._slots_T, v_TGK)
        outs, at = [], self._singles
        if self._singles:
            outs.append(self._attend_singles(q_THK[:at], keys, values))
        for row, table_M, mask_TS in self._prompts:
            k, v = (cache[table_M].flatten(0, 1)[: row.end].transpose(0, 1) for cache in (keys, values))
            q = q_THK[at : at + row.end - row.start].transpose(0, 1)
            # A batch axis of one: without it the CPU takes the slow path.
            out = F.scaled_dot_product_attention(q[None], k[None], v[None], mask_TS, enable_gqa=True)
            outs.append(out[0].transpose(0, 1))
            at += row.end - row.start
        return torch.cat(outs) if len(outs) > 1 else outs[0]

    def _attend_singles(self, q_BHK: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        k, v = (cache[self._table_BM].flatten(1, 2).transpose(1, 2) for cache in (keys, values))
        # The R queries that share a key head stand as R rows, so keys need not be repeated.
        q_BGRK = q_BHK.unflatten(1, (k.shape[1], -1))
        return F.scaled_dot_product_attention(q_BGRK, k, v, self._mask_B11S).flatten(1, 2)

    def _slots(self, row: Rows) -> list[int]:
        size, table = self._size, row.block_table
        return [table[position // size] * size + position % size for position in range(row.start, row.end)]

    def _pad(self, rows: Sequence[Rows]) -> tuple[torch.Tensor, torch.Tensor]:
        """Block tables side by side, and what of them each sequence may see."""
        used = [row.block_table[: -(-row.end // self._size)] for row in rows]
        width = max(map(len, used))
        table_BM = self._tensor([[*table, *[0] * (width - len(table))] for table in used])
        ends_B1 = self._tensor([[row.end] for row in rows])
        mask_BS = torch.arange(width * self._size, device=self._device) < ends_B1
        return table_BM, mask_BS[:, None, None, :]

    def _prompt(self, row: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Blocks of one sequence and its causal mask with two-way spans, [T, S]."""
        table_M = self._tensor(row.block_table[: -(-row.end // self._size)])
        positions_T1 = torch.arange(row.start, row.end, device=self._device)[:, None]
        mask_TS = torch.arange(row.end, device=self._device) <= positions_T1
        for start, end in row.spans:
            if row.start <= start and end <= row.end:
                mask_TS[start - row.start : end - row.start, start:end] = True
        return table_M, mask_TS

    def _tensor(self, numbers: Sequence[object]) -> torch.Tensor:
        return torch.tensor(numbers, device=self._device)
