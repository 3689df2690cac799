"""States to characters, one after the other: attention over what was written, and over what was heard.

Knows the order of characters through its causal mask alone. Embedding and output layer share one table.
B batch, N characters, S encoder frames, D width, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from services.speech.model.config import SpeechConfig
from services.speech.model.layers import NORM_EPS, Attention, GatedFeedForward, KeyValue

BOUNDARY = 0
"""Begins and ends every text."""


@dataclass
class DecoderMemory:
    """What the decoder remembers, by layer: the states heard, and the characters written so far."""

    heard: list[KeyValue]
    heard_mask: torch.Tensor | None
    written: list[KeyValue | None]

    def select(self, rows: torch.Tensor) -> None:
        """Keeps the given rows of the batch, in that order; a row may be kept twice."""
        if rows.tolist() == list(range(len(self.heard[0].keys))):
            return
        self.heard = [KeyValue(layer.keys[rows], layer.values[rows]) for layer in self.heard]
        self.heard_mask = None if self.heard_mask is None else self.heard_mask[rows]
        self.written = [
            None if layer is None else KeyValue(layer.keys[rows], layer.values[rows])
            for layer in self.written
        ]


class SpeechDecoder(nn.Module):
    """Writes down what the encoder heard."""

    def __init__(self, config: SpeechConfig):
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary_size, config.hidden_size)
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder_layers))
        self.output_bias = nn.Parameter(torch.zeros(config.vocabulary_size))

    def listen(self, states_BSD: torch.Tensor, mask_B11S: torch.Tensor | None = None) -> DecoderMemory:
        """A memory in which nothing is written yet."""
        heard = [block.listen(states_BSD) for block in self._blocks()]
        return DecoderMemory(heard, mask_B11S, [None] * len(self.blocks))

    def forward(self, ids_BN: torch.Tensor, memory: DecoderMemory) -> torch.Tensor:
        """Logits [B, N, V] of what follows each character; the memory grows by them."""
        x_BND = self.embedding(ids_BN)
        for index, block in enumerate(self.blocks):
            x_BND, memory.written[index] = block(
                x_BND, memory.written[index], memory.heard[index], memory.heard_mask
            )
        return nn.functional.linear(x_BND, self.embedding.weight, self.output_bias)

    def attend(self, ids_1N: torch.Tensor, states_1SD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [N, V] of one whole text, and what each step looked at: [layers, heads, N, S]."""
        memory = self.listen(states_1SD)
        x_BND, looks = self.embedding(ids_1N), []
        for block, heard in zip(self._blocks(), memory.heard, strict=True):
            looks.append(block.look(x_BND, heard)[0])
            x_BND, _ = block(x_BND, None, heard, None)
        logits_BNV = nn.functional.linear(x_BND, self.embedding.weight, self.output_bias)
        return logits_BNV[0], torch.stack(looks)

    def _blocks(self) -> Iterator["DecoderBlock"]:
        return (block for block in self.blocks if isinstance(block, DecoderBlock))


class DecoderBlock(nn.Module):
    """Writing, hearing, feed-forward, each added and normalised after."""

    def __init__(self, config: SpeechConfig):
        super().__init__()
        self.writing = Attention(config.hidden_size, config.heads)
        self.hearing = Attention(config.hidden_size, config.heads)
        self.feed_forward = GatedFeedForward(config.hidden_size, config.feed_forward)
        self.writing_norm = nn.LayerNorm(config.hidden_size, NORM_EPS)
        self.hearing_norm = nn.LayerNorm(config.hidden_size, NORM_EPS)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, NORM_EPS)

    def forward(
        self,
        x_BND: torch.Tensor,
        written: KeyValue | None,
        heard: KeyValue,
        heard_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, KeyValue]:
        """The block's output, and its memory of everything written up to here."""
        x_BND, written = self._write(x_BND, written)
        x_BND = self.hearing_norm(x_BND + self.hearing(x_BND, heard, heard_mask))
        return self.feed_forward_norm(x_BND + self.feed_forward(x_BND)), written

    def listen(self, states_BSD: torch.Tensor) -> KeyValue:
        """What the block can hear."""
        return self.hearing.remember(states_BSD)

    def look(self, x_BND: torch.Tensor, heard: KeyValue) -> torch.Tensor:
        """What each character of a whole text looks at: [B, heads, N, S]."""
        x_BND, _ = self._write(x_BND, None)
        return self.hearing.weights(x_BND, heard)

    def _write(self, x_BND: torch.Tensor, written: KeyValue | None) -> tuple[torch.Tensor, KeyValue]:
        new = self.writing.remember(x_BND)
        if written is not None:
            new = KeyValue(torch.cat([written.keys, new.keys], 2), torch.cat([written.values, new.values], 2))
        count, total = x_BND.shape[1], new.keys.shape[2]
        causal = torch.ones(count, total, dtype=torch.bool, device=x_BND.device).tril(total - count)
        return self.writing_norm(x_BND + self.writing(x_BND, new, causal)), new
