"""A decoding step on a CPU with as few calls as there are products: what lies between two is one kernel.

For steps in which each sequence goes on by one token; all else takes the way of `Decoder`.
Shapes: B sequences, M blocks of each, D hidden, H heads, K head size, P rotary pairs, V vocabulary.
"""

import torch
from torch import nn

from services.llm.model.decoder import Decoder, RMSNorm
from services.llm.model.kernels import ELEMENTS, Kernels
from services.llm.model.packed import PackedLayer
from services.llm.model.paged import PagedCache

LANES = 16  # floats of a vector, and tokens of a block
MOST_SHARED, MOST_CHANNELS = 32, 256


def can_fuse(decoder: Decoder, cache: PagedCache) -> bool:
    """Whether the sizes are such as the kernels take, on a packed decoder that sees all that it keeps."""
    config = decoder.config
    widths = (config.hidden_size, config.intermediate_size, config.head_dim)
    return (
        cache.device.type == "cpu"
        and cache.dtype in ELEMENTS
        and cache.block_size == LANES
        and not cache.window
        and all(width % LANES == 0 for width in widths)
        and config.head_dim <= MOST_CHANNELS
        and config.num_attention_heads // config.num_key_value_heads <= MOST_SHARED
        and all(isinstance(layer, PackedLayer) for layer in decoder.layers)
    )


class FusedDecoder:
    """`Decoder` and its paged attention in one, for what `can_fuse`."""

    def __init__(self, decoder: Decoder, cache: PagedCache, kernels: Kernels):
        self._decoder, self._cache, self._kernels = decoder, cache, kernels
        self._eps, self._head_dim = decoder.config.rms_norm_eps, decoder.config.head_dim
        layers = [layer for layer in decoder.layers if isinstance(layer, PackedLayer)]
        befores = [layer.norms[0] for layer in layers]
        self._first = befores[0]
        # What comes after a layer's last sum is the first norm of the next one.
        following = [norm.get_parameter("weight") for norm in (*befores[1:], decoder.norm)]
        self._layers = list(zip(layers, map(_Norms, layers), following, cache.layers, strict=True))

    def logits(
        self, ids_B: torch.Tensor, positions_B: torch.Tensor, table_BM: torch.Tensor, last_B: torch.Tensor
    ) -> torch.Tensor:
        """Scores of what follows, [B, V]; last_B: each token's index; table_BM: the blocks up to it."""
        kernels, eps = self._kernels, self._eps
        cosine, sine = self._decoder.rotary.angles(positions_B, torch.float32)
        angles_BP = cosine.squeeze(-2), sine.squeeze(-2)
        x_BD = self._decoder.embed(ids_B)
        normed_BD = self._first(x_BD)
        for layer, norms, following, kept in self._layers:
            qkv_BHK = layer.qkv(normed_BD).unflatten(-1, (-1, self._head_dim))
            seen_BD = layer.o(kernels.attend(qkv_BHK, angles_BP, kept, table_BM, last_B))
            normed_BD = kernels.add_and_norm(x_BD, seen_BD, norms.after_attention, norms.before_mlp, eps)
            thought_BD = layer.down(kernels.gate(layer.gate_up(normed_BD)))
            normed_BD = kernels.add_and_norm(x_BD, thought_BD, norms.after_mlp, following, eps)
        return self._decoder.logits(normed_BD)


class _Norms:
    """Weights of a layer's norms within it; None where nothing is normed."""

    def __init__(self, layer: PackedLayer):
        _, after_attention, before_mlp, after_mlp = layer.norms
        self.after_attention, self.after_mlp = _weight(after_attention), _weight(after_mlp)
        self.before_mlp = before_mlp.get_parameter("weight")


def _weight(norm: nn.Module) -> torch.Tensor | None:
    return norm.weight if isinstance(norm, RMSNorm) else None
