"""GLM-4's decoder: sandwich norms, partial rotary positions, grouped queries.

Knows nothing of caches, batches or media: attention is handed in, embeddings come ready.
Shapes: T tokens (any leading batch axes), D hidden, H query heads, G key heads, K head size, V vocabulary.
Parameter names are those of Hugging Face's `Glm4ForCausalLM`, so its checkpoints load as they are, and with
other settings those of `GlmForCausalLM` and of the text half of `Glm4vForConditionalGeneration`.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from services.llm.model.config import DecoderConfig


class Attend(Protocol):
    """Attention over whatever the caller keeps: a dense mask, or a paged cache."""

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor
    ) -> torch.Tensor:
        """Takes rotated queries and keys of the new tokens, gives [..., T, H, K]."""


class RMSNorm(nn.RMSNorm):
    """Root-mean-square norm, computed in float32."""

    def forward(self, x_TD: torch.Tensor) -> torch.Tensor:
        normed = F.rms_norm(x_TD.float(), self.normalized_shape, None, self.eps)
        return normed.to(x_TD.dtype) * self.weight


class Rotary(nn.Module):
    """Turns the first `rotary_dim` channels of each head, neighbours as pairs, by the position.

    With M-RoPE (arXiv:2409.12191) a token has three positions, and each pair turns with one of them.
    """

    inverse_frequency: torch.Tensor
    axis_of_pair: torch.Tensor

    def __init__(self, config: DecoderConfig):
        super().__init__()
        exponent = torch.arange(0, config.rotary_dim, 2, dtype=torch.float32) / config.rotary_dim
        self.register_buffer("inverse_frequency", config.rope_theta**-exponent, persistent=False)
        axes = [i % 3 for i, pairs in enumerate(config.mrope_section) for _ in range(pairs)]
        self.register_buffer("axis_of_pair", torch.tensor(axes, dtype=torch.long), persistent=False)
        self.three_axes = bool(axes)

    def angles(self, positions: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine, [..., T, 1, rotary_dim / 2].

        positions: [..., T]; with M-RoPE [T] (three times the same) or [3, ..., T].
        """
        if self.three_axes and positions.ndim > 1:
            position_TP = positions.index_select(0, self.axis_of_pair).movedim(0, -1)
        else:
            position_TP = positions[..., None]
        angle = position_TP.float() * self.inverse_frequency
        return angle.cos().to(dtype).unsqueeze(-2), angle.sin().to(dtype).unsqueeze(-2)

    @staticmethod
    def rotate(x_THK: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        rotary_dim = 2 * cos.shape[-1]
        even, odd = x_THK[..., 0:rotary_dim:2], x_THK[..., 1:rotary_dim:2]
        turned = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)
        return torch.cat((turned, x_THK[..., rotary_dim:]), dim=-1)


class SelfAttention(nn.Module):
    """Projections around the attention that is handed in."""

    def __init__(self, config: DecoderConfig, layer: int):
        super().__init__()
        self.layer, self.head_dim = layer, config.head_dim
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=config.attention_bias)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)

    def forward(
        self, x_TD: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor], attend: Attend
    ) -> torch.Tensor:
        q, k, v = (
            projection(x_TD).unflatten(-1, (-1, self.head_dim))
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        out_THK = attend(self.layer, Rotary.rotate(q, *angles), Rotary.rotate(k, *angles), v)
        return self.o_proj(out_THK.flatten(-2))


class GatedMLP(nn.Module):
    """SwiGLU with gate and up projection in one matrix."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.gate_up_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_TD: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up_proj(x_TD).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


class DecoderLayer(nn.Module):
    """Attention and MLP, each normed before and (sandwich) after."""

    def __init__(self, config: DecoderConfig, layer: int):
        super().__init__()

        def norm(wanted: bool = True) -> nn.Module:
            return RMSNorm(config.hidden_size, eps=config.rms_norm_eps) if wanted else nn.Identity()

        self.self_attn = SelfAttention(config, layer)
        self.mlp = GatedMLP(config)
        self.input_layernorm = norm()
        self.post_self_attn_layernorm = norm(config.sandwich_norms)
        self.post_attention_layernorm = norm()
        self.post_mlp_layernorm = norm(config.sandwich_norms)

    def forward(
        self, x_TD: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor], attend: Attend
    ) -> torch.Tensor:
        attended = self.self_attn(self.input_layernorm(x_TD), angles, attend)
        x_TD = x_TD + self.post_self_attn_layernorm(attended)
        return x_TD + self.post_mlp_layernorm(self.mlp(self.post_attention_layernorm(x_TD)))


class Decoder(nn.Module):
    """Embeddings in, hidden states out; logits on request."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight
        self.rotary = Rotary(config)

    def embed(self, ids_T: torch.Tensor) -> torch.Tensor:
        """Token embeddings, [..., T, D]."""
        return self.embed_tokens(ids_T)

    def forward(self, x_TD: torch.Tensor, positions: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Hidden states after the final norm, [..., T, D]; positions as `Rotary.angles` takes them."""
        angles = self.rotary.angles(positions, x_TD.dtype)
        for layer in self.layers:
            x_TD = layer(x_TD, angles, attend)
        return self.norm(x_TD)

    def logits(self, hidden_TD: torch.Tensor) -> torch.Tensor:
        """Scores of the next token, [..., T, V]."""
        return self.lm_head(hidden_TD)
