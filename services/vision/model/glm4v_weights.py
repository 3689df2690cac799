"""Weights of the Glm4v encoder: what a published checkpoint holds, and how the model takes it."""

from collections.abc import Callable

import torch

from services.vision.model.glm4v import Glm4vVisionConfig

Shapes = dict[str, tuple[int, ...]]
Tensors = dict[str, torch.Tensor]


def published_shapes(config: Glm4vVisionConfig) -> Shapes:
    """Name, below `visual.`, and shape of every tensor."""
    width, out, inner = config.hidden_size, config.out_hidden_size, config.intermediate_size
    patch, merge = config.patch_size, config.spatial_merge_size
    shapes: Shapes = {
        "patch_embed.proj.weight": (width, config.in_channels, config.temporal_patch_size, patch, patch),
        "patch_embed.proj.bias": (width,),
        "post_conv_layernorm.weight": (width,),
        "embeddings.position_embedding.weight": (config.table_side**2, width),
        "post_layernorm.weight": (width,),
        "downsample.weight": (out, width, merge, merge),
        "downsample.bias": (out,),
        "merger.proj.weight": (out, out),
        "merger.post_projection_norm.weight": (out,),
        "merger.post_projection_norm.bias": (out,),
        "merger.gate_proj.weight": (inner, out),
        "merger.up_proj.weight": (inner, out),
        "merger.down_proj.weight": (out, inner),
    }
    for block in (f"blocks.{index}" for index in range(config.depth)):
        shapes |= {
            f"{block}.norm1.weight": (width,),
            f"{block}.attn.qkv.weight": (3 * width, width),
            f"{block}.attn.proj.weight": (width, width),
            f"{block}.norm2.weight": (width,),
            f"{block}.mlp.gate_proj.weight": (out, width),
            f"{block}.mlp.up_proj.weight": (out, width),
            f"{block}.mlp.down_proj.weight": (width, out),
        }
        if config.attention_bias:
            shapes[f"{block}.attn.qkv.bias"] = (3 * width,)
    return shapes


def fold(config: Glm4vVisionConfig, read: Callable[[str], torch.Tensor]) -> Tensors:
    """The model's state from published tensors, read one by one: convolutions become matrix products."""

    def gated(name: str) -> torch.Tensor:
        return torch.cat((read(f"{name}.gate_proj.weight"), read(f"{name}.up_proj.weight")))

    side = config.table_side
    patch = read("patch_embed.proj.weight")
    state = {
        "patch_embed.weight": patch.float().sum(2).flatten(1).to(patch.dtype),
        "patch_embed.bias": read("patch_embed.proj.bias"),
        "post_conv_norm.weight": read("post_conv_layernorm.weight"),
        "position": read("embeddings.position_embedding.weight").unflatten(0, (side, side)),
        "post_norm.weight": read("post_layernorm.weight"),
        "downsample.weight": read("downsample.weight").permute(0, 2, 3, 1).flatten(1),
        "downsample.bias": read("downsample.bias"),
        "merger.proj.weight": read("merger.proj.weight"),
        "merger.norm.weight": read("merger.post_projection_norm.weight"),
        "merger.norm.bias": read("merger.post_projection_norm.bias"),
        "merger.mlp.gate_up.weight": gated("merger"),
        "merger.mlp.down.weight": read("merger.down_proj.weight"),
    }
    for block in (f"blocks.{index}" for index in range(config.depth)):
        state |= {
            f"{block}.norm1.weight": read(f"{block}.norm1.weight"),
            f"{block}.attn.qkv.weight": read(f"{block}.attn.qkv.weight"),
            f"{block}.attn.proj.weight": read(f"{block}.attn.proj.weight"),
            f"{block}.norm2.weight": read(f"{block}.norm2.weight"),
            f"{block}.mlp.gate_up.weight": gated(f"{block}.mlp"),
            f"{block}.mlp.down.weight": read(f"{block}.mlp.down_proj.weight"),
        }
        if config.attention_bias:
            state[f"{block}.attn.qkv.bias"] = read(f"{block}.attn.qkv.bias")
    return state
