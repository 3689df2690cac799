"""Attention over keys and values kept in blocks.

Shapes: T new tokens of all sequences in a row, H query heads, G key heads, R = H / G, K head size,
B sequences with one new token, S tokens kept, N slots = blocks x block size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from services.llm.model.config import DecoderConfig

UNSEEN = 1 << 40
"""A block index that no token reaches."""


class PagedCache:
    """Keys and values of all layers, in blocks of `block_size` tokens."""

    def __init__(
        self, config: DecoderConfig, blocks: int, block_size: int, dtype: torch.dtype, device: torch.device
    ):
        shape = (blocks, block_size, 2, config.num_key_value_heads, config.head_dim)
        # Side by side, so that one copy fetches both. Zeros, not empty: a masked NaN would still spoil a sum.
        self.layers = [
            torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_hidden_layers)
        ]
        self.block_size, self.dtype, self.device = block_size, dtype, device
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


class PagedAttention:
    """One step's attention: stores the new keys and values, then looks at all that its sequences keep.

    Sequences with a single new token come first and share one padded gather; the others go one by one.
    """

    def __init__(self, cache: PagedCache, rows: Sequence[Rows]):
        self._cache, self._size = cache, cache.block_size
        self._singles = next((i for i, row in enumerate(rows) if row.end - row.start > 1), len(rows))
        self._slots_T = self._tensor([slot for row in rows for slot in self._slots(row)])
        if self._singles:
            self._table_BM, self._bias_B11S = self._pad(rows[: self._singles])
        self._prompts = [(row, *self._prompt(row)) for row in rows[self._singles :]]

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor
    ) -> torch.Tensor:
        self._cache.store(layer, self._slots_T, k_TGK, v_TGK)
        outs, at = [], self._singles
        if self._singles:
            outs.append(self._attend_singles(layer, q_THK[:at]))
        for row, table_1M, bias_TS in self._prompts:
            k, v = (x[:, :, : bias_TS.shape[1]] for x in self._cache.fetch(layer, table_1M))
            q = q_THK[at : at + row.end - row.start].transpose(0, 1)
            # A batch axis of one: without it the CPU takes the slow path.
            out = F.scaled_dot_product_attention(q[None], k, v, bias_TS, enable_gqa=True)
            outs.append(out[0].transpose(0, 1))
            at += row.end - row.start
        return torch.cat(outs) if len(outs) > 1 else outs[0]

    def _attend_singles(self, layer: int, q_BHK: torch.Tensor) -> torch.Tensor:
        k, v = self._cache.fetch(layer, self._table_BM)
        # The R queries that share a key head stand as R rows, so keys need not be repeated.
        q_BGRK = q_BHK.unflatten(1, (k.shape[1], -1))
        return F.scaled_dot_product_attention(q_BGRK, k, v, self._bias_B11S).flatten(1, 2)

    def _slots(self, row: Rows) -> list[int]:
        size, table = self._size, row.block_table
        return [table[position // size] * size + position % size for position in range(row.start, row.end)]

    def _pad(self, rows: Sequence[Rows]) -> tuple[torch.Tensor, torch.Tensor]:
        """Block tables side by side, and what of them each sequence may see."""
        kept = [self._kept(row) for row in rows]
        width = max(map(len, kept))
        tables = [[row.block_table[i] for i in own] for row, own in zip(rows, kept, strict=True)]
        table_BM = self._tensor([[*table, *[0] * (width - len(table))] for table in tables])
        last_B1 = self._tensor([[row.end - 1] for row in rows])
        return table_BM, self._bias(self._sees(last_B1, self._places(kept, width)))[:, None, None, :]

    def _prompt(self, row: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Blocks of one sequence, and what it may see: causal, with two-way spans; [1, M] and [T, S]."""
        kept = self._kept(row)
        table_1M = self._tensor([[row.block_table[index] for index in kept]])
        size = len(kept) * self._size - -row.end % self._size
        places_1S = self._places([kept], len(kept))[:, :size]
        seen_TS = self._sees(torch.arange(row.start, row.end, device=self._cache.device)[:, None], places_1S)
        for start, end in row.spans:
            if row.start <= start and end <= row.end:
                seen_TS[start - row.start : end - row.start] |= (places_1S >= start) & (places_1S < end)
        return table_1M, self._bias(seen_TS)

    def _kept(self, row: Rows) -> Sequence[int]:
        """Places in its table of the blocks that the row reads."""
        used = range(-(-row.end // self._size))
        return [i for i in used if row.block_table[i] >= 0] if self._cache.window else used

    def _places(self, kept: Sequence[Sequence[int]], width: int) -> torch.Tensor:
        """Positions of the tokens in those blocks, [B, S]; beyond a sequence's end where it has fewer."""
        if not self._cache.window:
            return torch.arange(width * self._size, device=self._cache.device)[None]
        offsets = torch.arange(self._size, device=self._cache.device)
        blocks_BM = self._tensor([[*own, *[UNSEEN] * (width - len(own))] for own in kept])
        return (blocks_BM[..., None] * self._size + offsets).flatten(1)

    def _sees(self, queries: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Whether tokens at `queries` see those at `places`, two-way spans aside."""
        seen = places <= queries
        if self._cache.window:
            seen &= (places > queries - self._cache.window) | (places < self._cache.global_tokens)
        return seen

    def _bias(self, seen: torch.Tensor) -> torch.Tensor:
        """The mask as it is added to scores, once for all layers."""
        return torch.where(seen, 0.0, float("-inf")).to(self._cache.dtype)

    def _tensor(self, numbers: Sequence[object]) -> torch.Tensor:
        return torch.tensor(numbers, device=self._cache.device)
