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
    seen_BT: torch.Tensor
    """Which of the characters written are real, and may be looked at."""

    def look_back(self, real_BN: torch.Tensor) -> torch.Tensor | None:
        """Takes note of the next characters: what each of them may look at [B, 1, N, T]; None: everything."""
        self.seen_BT = torch.cat([self.seen_BT, real_BN], 1)
        count, total = real_BN.shape[1], self.seen_BT.shape[1]
        if count == 1 and self.seen_BT.all():
            return None
        causal_NT = torch.ones(count, total, dtype=torch.bool, device=real_BN.device).tril(total - count)
        itself_NT = causal_NT.triu(total - count)  # attention to nothing at all is not defined
        return ((causal_NT & self.seen_BT[:, None]) | itself_NT)[:, None]

    def select(self, rows: torch.Tensor) -> None:
        """Keeps the given rows of the batch, in that order; a row may be kept twice."""
        if rows.tolist() == list(range(len(self.heard[0].keys))):
            return
        self.heard = [KeyValue(layer.keys[rows], layer.values[rows]) for layer in self.heard]
        self.heard_mask = None if self.heard_mask is None else self.heard_mask[rows]
        self.seen_BT = self.seen_BT[rows]
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
        nothing_B0 = states_BSD.new_zeros(len(states_BSD), 0, dtype=torch.bool)
        return DecoderMemory(heard, mask_B11S, [None] * len(self.blocks), nothing_B0)

    def forward(
        self, ids_BN: torch.Tensor, memory: DecoderMemory, real_BN: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits [B, N, V] of what follows each character; the memory grows by them.

        `real_BN` is False where a row was only filled up, which may be anywhere: there are no positions.
        """
        sight = memory.look_back(torch.ones_like(ids_BN, dtype=torch.bool) if real_BN is None else real_BN)
        x_BND = self.embedding(ids_BN)
        for index, block in enumerate(self.blocks):
            x_BND, memory.written[index] = block(
                x_BND, sight, memory.written[index], memory.heard[index], memory.heard_mask
            )
        return nn.functional.linear(x_BND, self.embedding.weight, self.output_bias)

    def attend(self, ids_1N: torch.Tensor, states_1SD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [N, V] of one whole text, and what each step looked at: [layers, heads, N, S]."""
        memory = self.listen(states_1SD)
        sight = memory.look_back(torch.ones_like(ids_1N, dtype=torch.bool))
        x_BND, looks = self.embedding(ids_1N), []
        for block, heard in zip(self._blocks(), memory.heard, strict=True):
            looks.append(block.look(x_BND, sight, heard)[0])
            x_BND, _ = block(x_BND, sight, None, heard, None)
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
        sight: torch.Tensor | None,
        written: KeyValue | None,
        heard: KeyValue,
        heard_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, KeyValue]:
        """The block's output, and its memory of everything written up to here."""
        x_BND, written = self._write(x_BND, sight, written)
        x_BND = self.hearing_norm(x_BND + self.hearing(x_BND, heard, heard_mask))
        return self.feed_forward_norm(x_BND + self.feed_forward(x_BND)), written

    def listen(self, states_BSD: torch.Tensor) -> KeyValue:
        """What the block can hear."""
        return self.hearing.remember(states_BSD)

    def look(self, x_BND: torch.Tensor, sight: torch.Tensor | None, heard: KeyValue) -> torch.Tensor:
        """What each character of a whole text looks at: [B, heads, N, S]."""
        x_BND, _ = self._write(x_BND, sight, None)
        return self.hearing.weights(x_BND, heard)

    def _write(
        self, x_BND: torch.Tensor, sight: torch.Tensor | None, written: KeyValue | None
    ) -> tuple[torch.Tensor, KeyValue]:
        new = self.writing.remember(x_BND)
        if written is not None:
            new = KeyValue(torch.cat([written.keys, new.keys], 2), torch.cat([written.values, new.values], 2))
        return self.writing_norm(x_BND + self.writing(x_BND, new, sight)), new
