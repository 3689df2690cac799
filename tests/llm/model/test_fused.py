"""A fused step gives the logits of the plain decoder, for every family and whatever the blocks."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from services.llm.model.attention import DenseAttention, prefix_mask
from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Decoder
from services.llm.model.fused import FusedDecoder, can_fuse
from services.llm.model.packed import pack
from services.llm.model.paged import PagedAttention, PagedCache, Rows
from tests.bundles import tiny_backbone
from tests.llm.model.compiled import kernels_for

CONFIG = DecoderConfig(64, 48, 80, 3, 4, 2, 16, 512)
FAMILIES = {
    "native": CONFIG,
    "Glm4": replace(CONFIG, tie_word_embeddings=False, attention_bias=False),
    "Glm": replace(CONFIG, sandwich_norms=False, rms_norm_eps=1e-6),
    "Glm4v": replace(CONFIG, mrope_section=(1, 1, 2)),
}
LENGTHS = [1, 16, 33]
TABLES = [[7, 2, 5], [0, 8, 3], [1, 6, 4]]


def packed(config: DecoderConfig, dtype: torch.dtype = torch.float32) -> Decoder:
    decoder = tiny_backbone(config, seed=0)[0].to(dtype)
    pack(decoder)
    return decoder


def cache_over(config: DecoderConfig, dtype: torch.dtype = torch.float32) -> PagedCache:
    return PagedCache(config, 9, 16, dtype, torch.device("cpu"))


@torch.inference_mode()
def next_logits(
    config: DecoderConfig, tables: list[list[int]], dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the plain decoder, in float32, and a fused step say after one more token for each sequence."""
    kernels = kernels_for(dtype)
    torch.manual_seed(1)
    prompts = [torch.randint(config.vocab_size, (length + 1,)) for length in LENGTHS]
    dense, decoder, cache = tiny_backbone(config, seed=0)[0], packed(config, dtype), cache_over(config, dtype)
    expected = []
    for prompt, table in zip(prompts, TABLES, strict=True):
        places, mask = torch.arange(len(prompt)), prefix_mask(len(prompt), [])
        expected.append(dense.logits(dense(dense.embed(prompt), places, DenseAttention(mask))[-1]))
        attend = PagedAttention(cache, [Rows(0, len(prompt) - 1, table)])
        decoder(decoder.embed(prompt[:-1]), places[:-1], attend)
    last_B = torch.tensor(LENGTHS)
    ids_B = torch.stack([prompt[-1] for prompt in prompts])
    fused = FusedDecoder(decoder, cache, kernels)
    return torch.stack(expected), fused.logits(ids_B, last_B, torch.tensor(tables), last_B)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_those_of_the_plain_decoder(family: str) -> None:
    expected, found = next_logits(FAMILIES[family], TABLES)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_they_are_as_near_as_its_precision_allows(family: str) -> None:
    expected, found = next_logits(FAMILIES[family], TABLES, torch.bfloat16)
    assert (found.float() - expected).norm() < 0.05 * expected.norm()


def test_swapped_block_tables_show() -> None:
    expected, found = next_logits(CONFIG, TABLES[::-1])
    assert not torch.allclose(found, expected, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_decoder_can_be_fused(dtype: torch.dtype) -> None:
    assert can_fuse(packed(CONFIG, dtype), cache_over(CONFIG, dtype))


@pytest.mark.parametrize(
    ("config", "make"),
    [
        (CONFIG, lambda config: tiny_backbone(config, seed=0)[0]),
        (replace(CONFIG, head_dim=8), packed),
        (replace(CONFIG, intermediate_size=72), packed),
        (replace(CONFIG, sliding_window=32), packed),
    ],
    ids=["not packed", "narrow heads", "odd width", "window"],
)
def test_what_the_kernels_do_not_take_is_not_fused(
    config: DecoderConfig, make: Callable[[DecoderConfig], Decoder]
) -> None:
    assert not can_fuse(make(config), cache_over(config))


def test_other_precisions_and_blocks_are_not_fused() -> None:
    assert not can_fuse(packed(CONFIG), cache_over(CONFIG, torch.float16))
    assert not can_fuse(packed(CONFIG), PagedCache(CONFIG, 9, 8, torch.float32, torch.device("cpu")))
