"""The picture encoder of `Glm4vForConditionalGeneration`: a ViT over patches of pictures of any size.

Shapes: N patches of all pictures in a row, P values of a patch, E encoder width, H heads, D width of a head,
M merged tokens, O width of the backbone. Patches come in blocks of merge x merge neighbours, so that those
that become one token follow each other.
Source: https://arxiv.org/abs/2507.01006
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn

Grid = tuple[int, int]  # rows and columns of patches of one picture


@dataclass(frozen=True)
class Glm4vVisionConfig:
    """Sizes of the encoder, by the names of Hugging Face's `vision_config`; defaults are GLM-4.1V-9B's."""

    depth: int = 24
    hidden_size: int = 1536
    num_heads: int = 12
    intermediate_size: int = 13696
    out_hidden_size: int = 4096
    image_size: int = 336
    patch_size: int = 14
    temporal_patch_size: int = 2
    spatial_merge_size: int = 2
    in_channels: int = 3
    attention_bias: bool = False
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    hidden_act: str = "silu"

    def __post_init__(self) -> None:
        if self.hidden_act != "silu":
            raise ValueError(f"hidden_act is {self.hidden_act}, not silu")
        if self.hidden_size % (4 * self.num_heads):
            raise ValueError(f"hidden_size {self.hidden_size} gives no rotary heads x {self.num_heads}")

    @property
    def patch_values(self) -> int:
        """Pixel values in one patch of one frame."""
        return self.in_channels * self.patch_size**2

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_heads

    @property
    def table_side(self) -> int:
        """Places along one side of the learned position table."""
        return self.image_size // self.patch_size

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        """Reads a `vision_config`; ValueError where a size is no plain number."""
        values = {key: raw[key] for key in cls.__dataclass_fields__ if key in raw}
        rope = raw.get("rope_parameters") or {}
        values |= {"rope_theta": rope.get("rope_theta", cls.rope_theta)}
        for key, value in values.items():
            wanted = type(cls.__dataclass_fields__[key].default)
            if not isinstance(value, (int, float) if wanted is float else wanted):
                raise ValueError(f"{key} is {value!r}")
        return cls(**values)


class Rotary(nn.Module):
    """Angles by row and by column, half of each head for either."""

    inverse_frequencies: torch.Tensor

    def __init__(self, config: Glm4vVisionConfig):
        super().__init__()
        half = config.head_size // 2
        exponents = torch.arange(0, half, 2, dtype=torch.float32, device="cpu") / half
        self.register_buffer("inverse_frequencies", config.rope_theta**-exponents, persistent=False)

    def forward(self, places_N2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines, each [N, 1, 1, D / 2]."""
        angles = (places_N2.float()[..., None] * self.inverse_frequencies.to(places_N2.device)).flatten(1)
        return angles.cos()[:, None, None], angles.sin()[:, None, None]


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turns the pairs (i, i + D / 2) of the last axis, in float32."""
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).type_as(x)


class Attention(nn.Module):
    """Each patch attends to all patches of its own picture."""

    def __init__(self, config: Glm4vVisionConfig):
        super().__init__()
        self.heads = config.num_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.attention_bias)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(
        self, x_NE: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, lengths: list[int]
    ) -> torch.Tensor:
        qkv_N3HD = self.qkv(x_NE).unflatten(-1, (3, self.heads, -1))
        q, k = rotate(qkv_N3HD[:, :2], cos, sin).permute(1, 2, 0, 3)
        v = qkv_N3HD[:, 2].transpose(0, 1)
        pictures = zip(*(heads_HND.split(lengths, dim=1) for heads_HND in (q, k, v)), strict=True)
        attended = [
            F.scaled_dot_product_attention(*(heads_HLD[None] for heads_HLD in picture))[0]
            for picture in pictures
        ]
        return self.proj(torch.cat(attended, dim=1).transpose(0, 1).flatten(1))


class GatedMLP(nn.Module):
    """SiLU-gated; gate and value come from one matrix product."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """Pre-norm attention, then a gated MLP (whose inner width, in this family, is the backbone's)."""

    def __init__(self, config: Glm4vVisionConfig):
        super().__init__()
        self.norm1 = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attn = Attention(config)
        self.norm2 = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = GatedMLP(config.hidden_size, config.out_hidden_size)

    def forward(
        self, x_NE: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, lengths: list[int]
    ) -> torch.Tensor:
        x_NE = x_NE + self.attn(self.norm1(x_NE), cos, sin, lengths)
        return x_NE + self.mlp(self.norm2(x_NE))


class Merger(nn.Module):
    """Merged tokens to the space of the backbone."""

    def __init__(self, config: Glm4vVisionConfig):
        super().__init__()
        width = config.out_hidden_size
        self.proj = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.mlp = GatedMLP(width, config.intermediate_size)

    def forward(self, x_MO: torch.Tensor) -> torch.Tensor:
        return self.mlp(F.gelu(self.norm(self.proj(x_MO))))


class Glm4vVisionEncoder(nn.Module):
    """Patches of several pictures of any sizes to the tokens that stand for them in a prompt."""

    def __init__(self, config: Glm4vVisionConfig):
        super().__init__()
        self.config = config
        width, merged = config.hidden_size, config.spatial_merge_size**2 * config.hidden_size
        # A picture is its own next frame: the kernel's frames are summed, and one frame of pixels suffices.
        self.patch_embed = nn.Linear(config.patch_values, width)
        self.post_conv_norm = nn.RMSNorm(width, config.rms_norm_eps)
        self.position = nn.Parameter(torch.zeros(config.table_side, config.table_side, width))
        self.rotary = Rotary(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.post_norm = nn.RMSNorm(width, config.rms_norm_eps)
        self.downsample = nn.Linear(merged, config.out_hidden_size)
        self.merger = Merger(config)

    def forward(self, patches_NP: torch.Tensor, grids: Sequence[Grid]) -> torch.Tensor:
        """Embeddings [M, O] of normalised patches; `grids` says which belong together."""
        positions_NE = torch.cat([self._positions(grid) for grid in grids])
        places_N2 = torch.cat([self._places(grid) for grid in grids])
        cos, sin = self.rotary(places_N2)
        lengths = [rows * columns for rows, columns in grids]
        x_NE = self.post_conv_norm(self.patch_embed(patches_NP)) + positions_NE
        for block in self.blocks:
            x_NE = block(x_NE, cos, sin, lengths)
        x_NE = self.post_norm(x_NE)
        return self.merger(self.downsample(x_NE.unflatten(0, (-1, self._merge**2)).flatten(1)))

    @property
    def _merge(self) -> int:
        return self.config.spatial_merge_size

    def _positions(self, grid: Grid) -> torch.Tensor:
        """The position table stretched to a grid, bicubic along rows and then along columns, [N, E]."""
        table = self.position.float()
        down, across = (_stretch(self.config.table_side, size, table.device) for size in grid)
        stretched = torch.einsum("rs,ste->rte", down, table)
        return self._in_blocks(torch.einsum("ct,rte->rce", across, stretched)).to(self.position.dtype)

    def _places(self, grid: Grid) -> torch.Tensor:
        """Row and column of each patch, [N, 2]."""
        rows, columns = (torch.arange(size, device=self.position.device) for size in grid)
        return self._in_blocks(torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1))

    def _in_blocks(self, map_RCx: torch.Tensor) -> torch.Tensor:
        """A map of rows and columns as one list, neighbours that merge side by side."""
        rows, columns = map_RCx.shape[0] // self._merge, map_RCx.shape[1] // self._merge
        blocks = map_RCx.reshape(rows, self._merge, columns, self._merge, -1)
        return blocks.transpose(1, 2).flatten(0, 3)


def _stretch(side: int, size: int, device: torch.device) -> torch.Tensor:
    """The bicubic filter that stretches `side` places to `size`, as a matrix [size, side]."""
    places = torch.eye(side, device=device)[None, :, :, None]
    return F.interpolate(places, (size, 1), mode="bicubic", align_corners=False)[0, :, :, 0].T
