"""Features to states, four times fewer: convolutional front, absolute positions, Transformer blocks.

The Speech-Transformer encoder (https://ieeexplore.ieee.org/document/8462506) with gated feed-forward.
B batch, T feature frames, S encoder frames, M mel bands, D width.
"""

import torch
from torch import nn

from services.speech.model.config import SpeechConfig
from services.speech.model.layers import NORM_EPS, Attention, GatedFeedForward

SUBSAMPLING = 4


class SpeechEncoder(nn.Module):
    """Hears a whole clip."""

    def __init__(self, config: SpeechConfig):
        super().__init__()
        self.width = config.hidden_size
        self.front = ConvolutionalFront(config.features.mel_bins, config.hidden_size)
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.encoder_layers))

    def forward(self, features_BTM: torch.Tensor, mask_B11S: torch.Tensor | None = None) -> torch.Tensor:
        """States [B, S, D]; a mask says which frames are real where clips of unlike length share a batch."""
        x_BSD = self.embed(features_BTM)
        for block in self.blocks:
            x_BSD = block(x_BSD, mask_B11S)
        return x_BSD

    def embed(self, features_BTM: torch.Tensor, offset: int = 0) -> torch.Tensor:
        """What the first block sees; `offset` is the position of the first frame."""
        x_BSD = self.front(features_BTM) * self.width**0.5
        return x_BSD + positions(x_BSD.shape[1], self.width, offset).to(x_BSD)


class ConvolutionalFront(nn.Module):
    """Two strided convolutions over time and frequency."""

    def __init__(self, bands: int, width: int):
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, stride=2)
        self.second = nn.Conv2d(width, width, 3, stride=2)
        self.output = nn.Linear(width * subsampled(bands), width)

    def forward(self, features_BTM: torch.Tensor) -> torch.Tensor:
        x_BDSF = self.first(features_BTM[:, None]).relu()
        x_BDSF = self.second(x_BDSF).relu()
        return self.output(x_BDSF.transpose(1, 2).flatten(2))


class EncoderBlock(nn.Module):
    """Attention, then feed-forward, each added and normalised after."""

    def __init__(self, config: SpeechConfig):
        super().__init__()
        self.attention = Attention(config.hidden_size, config.heads)
        self.feed_forward = GatedFeedForward(config.hidden_size, config.feed_forward)
        self.attention_norm = nn.LayerNorm(config.hidden_size, NORM_EPS)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, NORM_EPS)

    def forward(self, x_BSD: torch.Tensor, mask_B11S: torch.Tensor | None = None) -> torch.Tensor:
        heard_BSD = self.attention(x_BSD, self.attention.remember(x_BSD), mask_B11S)
        x_BSD = self.attention_norm(x_BSD + heard_BSD)
        return self.feed_forward_norm(x_BSD + self.feed_forward(x_BSD))


def subsampled(frames: int) -> int:
    """Frames that are left by the convolutional front; negative or zero where too few come in."""
    return ((frames - 1) // 2 - 1) // 2


def positions(count: int, width: int, offset: int = 0) -> torch.Tensor:
    """Sines at even places, cosines at odd ones: [count, width]."""
    place_S1 = torch.arange(offset, offset + count, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-torch.log(torch.tensor(1e4)) / width))
    return torch.stack([(place_S1 * rate).sin(), (place_S1 * rate).cos()], -1).flatten(1)
