"""The native picture encoder: convolutional stem, ViT layers, merge, projector.

Shapes: B pictures, N places of the feature map, E encoder width, M merged tokens, D width of the backbone.
"""

from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn

from services.vision.model.stem import LITE2_STAGES, LITE2_STEM_WIDTH, ConvStem, SameConv, Stage

ARCHITECTURE = "AutoGLMVisionEncoder"


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of the encoder."""

    image_size: int = 192
    stem_width: int = LITE2_STEM_WIDTH
    stages: tuple[Stage, ...] = LITE2_STAGES
    head_width: int = 1280
    width: int = 256
    layers: int = 2
    heads: int = 4
    merge: int = 2
    hidden_size: int = 256

    @property
    def grid(self) -> int:
        """Places of the feature map along one side."""
        stride = 2
        for stage in self.stages:
            stride *= stage.stride
        return self.image_size // stride

    @property
    def tokens(self) -> int:
        """Tokens one picture takes in a prompt."""
        return (self.grid // self.merge) ** 2

    @classmethod
    def tiny(cls) -> Self:
        """A model for tests: everything is there, nothing is large."""
        stages = (Stage(1, 3, 1, 1, 4), Stage(1, 3, 2, 2, 8))
        return cls(
            image_size=16,
            stem_width=4,
            stages=stages,
            head_width=16,
            width=16,
            layers=1,
            heads=2,
            hidden_size=32,
        )

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Reads a `config.json`."""
        keys = {key: value for key, value in raw.items() if key != "architectures"}
        return cls(**{**keys, "stages": tuple(Stage(**stage) for stage in keys["stages"])})

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        return {"architectures": [ARCHITECTURE], **asdict(self)}


def normalise(pixels_BHW3: torch.Tensor) -> torch.Tensor:
    """uint8 pixels to the range the stem was trained on, float32 [B, 3, H, W]."""
    return (pixels_BHW3.permute(0, 3, 1, 2).float() - 127) / 128


class VisionLayer(nn.Module):
    """Pre-norm self-attention over all places, then an MLP."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, x_BNE: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(self.norm1(x_BNE)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
        x_BNE = x_BNE + self.proj(attended)
        return x_BNE + self.fc2(F.gelu(self.fc1(self.norm2(x_BNE))))


class VisionEncoder(nn.Module):
    """Pixels to the tokens that stand for a picture in a prompt."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        self.config = config
        self.stem = ConvStem(config.stem_width, config.stages)
        self.head = SameConv(self.stem.width, config.head_width, 1)
        self.norm = nn.LayerNorm(config.head_width)
        self.embed = nn.Linear(config.head_width, config.width)
        self.position = nn.Parameter(torch.zeros(config.grid**2, config.width))
        self.layers = nn.ModuleList(VisionLayer(config.width, config.heads) for _ in range(config.layers))
        self.merge_norm = nn.LayerNorm(config.merge**2 * config.width)
        self.projector = nn.Linear(config.merge**2 * config.width, config.hidden_size)

    def forward(self, pixels_B3HW: torch.Tensor) -> torch.Tensor:
        """Embeddings [B, M, D] of normalised pictures."""
        return self.embed_map(self.stem(pixels_B3HW))

    def embed_map(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """The part after the stem, [B, M, D]; training enters here or in the stem's later stages."""
        # A 1x1 convolution on a small map is slower on a CPU than the same matrix product.
        places_BNC = map_BCHW.flatten(2).transpose(1, 2)
        places_BNC = F.relu6(F.linear(places_BNC, self.head.weight.flatten(1), self.head.bias))
        x_BNE = self.embed(self.norm(places_BNC)) + self.position
        for layer in self.layers:
            x_BNE = layer(x_BNE)
        return self.projector(self.merge_norm(self._merge(x_BNE)))

    def _merge(self, x_BNE: torch.Tensor) -> torch.Tensor:
        """Neighbouring places side by side in one token, [B, M, merge^2 x E]."""
        side, merge = self.config.grid, self.config.merge
        x = x_BNE.unflatten(1, (side // merge, merge, side // merge, merge))
        return x.transpose(2, 3).flatten(3).flatten(1, 2)
