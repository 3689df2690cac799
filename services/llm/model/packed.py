"""A decoder whose weights lie in memory as the device's kernels read them.

`pack` keeps the model and its arithmetic. Queries, keys and values come from one matrix, and a layer is one
flat function of few operators, because a small model spends more time between them than in them. On a CPU
weights are reordered for oneDNN, whose products of a few rows then run at the speed of memory, where the
plain call reaches a fifth of it. Not for training, saving or moving between devices. Shapes as in `decoder`.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from services.llm.model.decoder import Attend, Decoder, DecoderLayer, RMSNorm, Rotary

ROWS = 32  # the batch that the layout is chosen for; it serves one row and whole prompts as well

Apply = Callable[[torch.Tensor], torch.Tensor]


def can_pack(decoder: Decoder) -> bool:
    """True on a GPU, and for float32 and bfloat16 weights on a CPU with oneDNN."""
    weight = decoder.embed_tokens.weight
    if weight.is_cuda:
        return True
    known = weight.dtype in (torch.float32, torch.bfloat16)
    return weight.device.type == "cpu" and known and torch.backends.mkldnn.is_available()


def pack(decoder: Decoder) -> None:
    """Replaces layers and output head one by one, so that little is held twice."""
    for index, layer in enumerate(decoder.layers):
        if isinstance(layer, DecoderLayer):
            decoder.layers[index] = PackedLayer(layer, decoder.config.attention_bias)
    if not decoder.lm_head.weight.is_cuda:
        setattr(decoder, "lm_head", PackedLinear(decoder.lm_head.weight))  # noqa: B010 - another type of layer


class PackedLinear(nn.Module):
    """`nn.Linear` over a reordered weight."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None):
        super().__init__()
        # Plain attributes: an opaque tensor can be neither moved nor saved.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
        self._bias = None if bias is None else bias.detach()
        self._multiply = torch.ops.mkldnn._linear_pointwise.default

    def forward(self, x_TD: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = self._multiply(x_TD, self._weight, self._bias, "none", [], "")
        return product


class PackedLayer(nn.Module):
    """`DecoderLayer`, flat; its parts are at hand for who puts them together in other ways.

    norms: before and after attention, before and after the MLP.
    """

    def __init__(self, dense: DecoderLayer, biased: bool):
        super().__init__()
        attention, mlp = dense.self_attn, dense.mlp
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        biases: list[torch.Tensor] = [part.bias for part in parts] if biased else []
        self._layer, self._head_dim = attention.layer, attention.head_dim
        self._queries, self._keys, _ = (part.out_features // self._head_dim for part in parts)
        weights: list[torch.Tensor] = [part.weight for part in parts]
        self.qkv = _linear(torch.cat(weights), torch.cat(biases) if biases else None)
        self.o = _linear(attention.o_proj.weight, attention.o_proj.bias)
        self.gate_up, self.down = _linear(mlp.gate_up_proj.weight), _linear(mlp.down_proj.weight)
        self.norms = (
            dense.input_layernorm,
            dense.post_self_attn_layernorm,
            dense.post_attention_layernorm,
            dense.post_mlp_layernorm,
        )
        applied = map(_norm, self.norms)
        self._before_attention, self._after_attention, self._before_mlp, self._after_mlp = applied

    def forward(
        self, x_TD: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor], attend: Attend
    ) -> torch.Tensor:
        qkv = self.qkv(self._before_attention(x_TD)).unflatten(-1, (-1, self._head_dim))
        turned = self._queries + self._keys
        _turn(qkv[..., :turned, :], *angles)
        q, k, v = qkv.tensor_split((self._queries, turned), dim=-2)
        attended = self.o(attend(self._layer, q, k, v).flatten(-2))
        x_TD = x_TD + self._after_attention(attended)
        gate, up = self.gate_up(self._before_mlp(x_TD)).chunk(2, dim=-1)
        return x_TD + self._after_mlp(self.down(F.silu(gate) * up))


def _linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> Apply:
    """The bare function: calling a module costs as much as a small operator."""
    if weight.is_cuda:
        return partial(F.linear, weight=weight.detach(), bias=None if bias is None else bias.detach())
    return PackedLinear(weight, bias).forward


def _norm(dense: nn.Module) -> Apply:
    """In float32, and on a GPU, one operator does it all; else narrower types round between the steps."""
    if isinstance(dense, RMSNorm) and (dense.weight.is_cuda or dense.weight.dtype is torch.float32):
        shape, weight, eps = list(dense.normalized_shape), dense.weight.detach(), dense.eps
        return lambda x_TD: torch.rms_norm(x_TD, shape, weight, eps)
    return dense


def _turn(x_THK: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
    """`Rotary.rotate` in place: in float32, neighbours are the parts of a complex number."""
    if x_THK.dtype is torch.float32:
        pairs = x_THK[..., : 2 * cos.shape[-1]].unflatten(-1, (-1, 2))
        torch.view_as_complex(pairs).mul_(torch.complex(cos, sin))
    else:
        x_THK.copy_(Rotary.rotate(x_THK, cos, sin))
