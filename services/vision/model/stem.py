"""Convolutional stem: EfficientNet-Lite, batch norms folded into the convolutions.

Shapes: B pictures, C channels, H x W places.
Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Stage:
    """A run of inverted bottlenecks that share kernel size, width and expansion."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


LITE2_STEM_WIDTH = 32
LITE2_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(3, 3, 2, 6, 24),
    Stage(3, 5, 2, 6, 48),
    Stage(4, 3, 2, 6, 88),
    Stage(4, 5, 1, 6, 120),
    Stage(5, 5, 2, 6, 208),
    Stage(1, 3, 1, 6, 352),
)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the odd pixel goes right and below."""

    bias: nn.Parameter

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(width_in, width_out, kernel, stride, groups=groups)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x_BCHW, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        pads = []
        for size in (x_BCHW.shape[3], x_BCHW.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x_BCHW, pads))


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project; add the input where shapes allow."""

    def __init__(self, width_in: int, stage: Stage, stride: int):
        super().__init__()
        inner = width_in * stage.expansion
        self.expand = SameConv(width_in, inner, 1) if stage.expansion > 1 else None
        self.depthwise = SameConv(inner, inner, stage.kernel, stride, groups=inner)
        self.project = SameConv(inner, stage.width, 1)
        self.residual = stride == 1 and width_in == stage.width

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        y = x_BCHW if self.expand is None else F.relu6(self.expand(x_BCHW))
        y = self.project(F.relu6(self.depthwise(y)))
        return x_BCHW + y if self.residual else y


class ConvStem(nn.Module):
    """Pixels to a feature map at 1/32 of their size."""

    def __init__(self, stem_width: int = LITE2_STEM_WIDTH, stages: tuple[Stage, ...] = LITE2_STAGES):
        super().__init__()
        self.entry = SameConv(3, stem_width, 3, 2)
        self.stages = nn.ModuleList()
        width = stem_width
        for stage in stages:
            strides = [stage.stride] + [1] * (stage.blocks - 1)
            widths = [width] + [stage.width] * (stage.blocks - 1)
            pairs = zip(widths, strides, strict=True)
            self.stages.append(nn.Sequential(*(InvertedBottleneck(w, stage, s) for w, s in pairs)))
            width = stage.width
        self.width = width

    def forward(self, pixels_B3HW: torch.Tensor) -> torch.Tensor:
        return self.resume(F.relu6(self.entry(pixels_B3HW)), first_stage=0)

    def resume(self, x_BCHW: torch.Tensor, first_stage: int) -> torch.Tensor:
        """Runs the stages from `first_stage` on; training starts from cached maps here."""
        for stage in self.stages[first_stage:]:
            x_BCHW = stage(x_BCHW)
        return x_BCHW
