"""An encoder block heard in chunks: low-rank adapters, and a causal convolution after its attention.

The block's own weights are used as they are (https://arxiv.org/abs/2106.09685), and a fresh convolution adds
nothing, so that an untrained branch is the encoder with a narrower view.
B streams, S frames, P remembered frames, K kernel, D width.
"""

from dataclasses import dataclass

import torch
from torch import nn

from services.speech.model.encoder import EncoderBlock
from services.speech.model.layers import KeyValue

ADAPTED = ("query", "key", "value", "output")


@dataclass
class Memory:
    """What one block remembers of earlier frames."""

    past: KeyValue
    inputs_BTD: torch.Tensor
    """What the convolution was given: the K - 1 frames before the next one, at least."""


class ConformerBlock(nn.Module):
    """Goes with an `EncoderBlock`; rank 0 leaves the adapters out."""

    def __init__(self, width: int, feed_forward: int, kernel_size: int, rank: int):
        super().__init__()
        sizes = {name: (width, width) for name in ADAPTED}
        sizes |= {"widen": (width, 2 * feed_forward), "narrow": (feed_forward, width)}
        self.adapters = nn.ModuleDict(
            {name: Adapter(inputs, outputs, rank) for name, (inputs, outputs) in sizes.items() if rank}
        )
        self.convolution = CausalConvolution(width, kernel_size)

    def forward(
        self, base: EncoderBlock, x_BSD: torch.Tensor, memory: Memory, mask: torch.Tensor
    ) -> tuple[torch.Tensor, Memory]:
        """The block's output, and a memory of all frames from the first remembered to the last new one."""
        attention, feed_forward = base.attention, base.feed_forward
        queries, keys, values = (
            self._adapted(name, getattr(attention, name), x_BSD)
            .unflatten(-1, (attention.heads, -1))
            .transpose(1, 2)
            for name in ("query", "key", "value")
        )
        past = KeyValue(torch.cat([memory.past.keys, keys], 2), torch.cat([memory.past.values, values], 2))
        mixed_BHSD = nn.functional.scaled_dot_product_attention(
            queries, past.keys, past.values, attn_mask=mask
        )
        mixed_BSD = self._adapted("output", attention.output, mixed_BHSD.transpose(1, 2).flatten(2))
        x_BSD = base.attention_norm(x_BSD + mixed_BSD)
        shaped_BSD, inputs_BTD = self.convolution(x_BSD, memory.inputs_BTD)
        x_BSD = x_BSD + shaped_BSD
        wide = nn.functional.glu(self._adapted("widen", feed_forward.widen, x_BSD))
        x_BSD = base.feed_forward_norm(x_BSD + self._adapted("narrow", feed_forward.narrow, wide))
        return x_BSD, Memory(past, inputs_BTD)

    def _adapted(self, name: str, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return layer(x) + self.adapters[name](x) if name in self.adapters else layer(x)


class Adapter(nn.Module):
    """A low-rank addition to a linear layer; nothing at first."""

    def __init__(self, inputs: int, outputs: int, rank: int):
        super().__init__()
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = nn.Linear(rank, outputs, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.down(x))


class CausalConvolution(nn.Module):
    """The Conformer's convolution module, looking back only; nothing at first."""

    def __init__(self, width: int, kernel_size: int):
        super().__init__()
        self.widen = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel_size, groups=width)
        self.norm = nn.LayerNorm(width)
        self.narrow = nn.Linear(width, width)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x_BSD: torch.Tensor, before_BKD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Output [B, S, D], and its inputs with those before them: [B, K - 1 + S, D]."""
        inputs_BTD = torch.cat([before_BKD, nn.functional.glu(self.widen(x_BSD))], 1)
        mixed_BSD = self.depthwise(inputs_BTD.transpose(1, 2)).transpose(1, 2)
        return self.narrow(nn.functional.silu(self.norm(mixed_BSD))), inputs_BTD
