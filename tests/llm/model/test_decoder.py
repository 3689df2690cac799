"""The decoder is GLM-4's, and the paged pass is the dense one."""

import pytest
import torch
from transformers import Glm4Config, Glm4ForCausalLM

from services.llm.model.attention import DenseAttention, prefix_mask
from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Decoder
from services.llm.model.paged import PagedAttention, PagedCache, Rows
from tests.bundles import tiny_backbone

CONFIG = DecoderConfig.tiny(64)


@torch.inference_mode()
def test_logits_equal_those_of_transformers() -> None:
    decoder, _ = tiny_backbone(CONFIG, seed=1)
    ours = ("architectures", "gated", "sandwich_norms")
    settings = {key: value for key, value in CONFIG.to_dict().items() if key not in ours}
    reference = Glm4ForCausalLM(Glm4Config(**settings, pad_token_id=0))
    reference.train(False)
    names = {f"model.{name}": tensor for name, tensor in decoder.state_dict().items()}
    names["lm_head.weight"] = names.pop("model.lm_head.weight")
    reference.load_state_dict(names)
    ids = torch.randint(0, CONFIG.vocab_size, (40,))
    hidden = decoder(decoder.embed(ids), torch.arange(40), DenseAttention(prefix_mask(40, [])))
    torch.testing.assert_close(decoder.logits(hidden), reference(ids[None]).logits[0], atol=1e-4, rtol=1e-4)


@pytest.fixture
def decoder() -> Decoder:
    return tiny_backbone(CONFIG, seed=2)[0]


@torch.inference_mode()
def test_paged_chunks_in_scattered_blocks_equal_the_dense_pass(decoder: Decoder) -> None:
    spans = [(3, 8), (14, 17)]
    x_TD = torch.randn(20, CONFIG.hidden_size)
    dense = decoder(x_TD, torch.arange(20), DenseAttention(prefix_mask(20, spans)))
    cache = PagedCache(CONFIG, 9, 4, torch.float32, torch.device("cpu"))
    table, parts = [7, 2, 8, 0, 5], []
    for start, end in [(0, 3), (3, 13), (13, 18), (18, 19), (19, 20)]:
        attend = PagedAttention(cache, [Rows(start, end, table, spans)])
        parts.append(decoder(x_TD[start:end], torch.arange(start, end), attend))
    torch.testing.assert_close(torch.cat(parts), dense, atol=1e-5, rtol=1e-5)
    attend = PagedAttention(cache, [Rows(19, 20, [7, 2, 8, 5, 0])])
    swapped = decoder(x_TD[19:20], torch.arange(19, 20), attend)
    assert not torch.allclose(swapped, dense[19:], atol=1e-2), "a swapped block table would go unnoticed"


@torch.inference_mode()
def test_sequences_in_one_step_do_not_see_each_other(decoder: Decoder) -> None:
    cache = PagedCache(CONFIG, 8, 4, torch.float32, torch.device("cpu"))
    lengths, tables = (9, 2, 6), ([0, 1, 2], [3], [4, 5])
    xs = [torch.randn(n, CONFIG.hidden_size) for n in lengths]
    for x_TD, table in zip(xs[:2], tables, strict=False):
        rows = [Rows(0, len(x_TD) - 1, table)]
        decoder(x_TD[:-1], torch.arange(len(x_TD) - 1), PagedAttention(cache, rows))
    rows = [Rows(8, 9, tables[0]), Rows(1, 2, tables[1]), Rows(0, 6, tables[2])]
    together = decoder(
        torch.cat([xs[0][-1:], xs[1][-1:], xs[2]]),
        torch.tensor([8, 1, *range(6)]),
        PagedAttention(cache, rows),
    )
    dense = [
        decoder(x, torch.arange(len(x)), DenseAttention(prefix_mask(len(x), [])))[-n:]
        for x, n in zip(xs, (1, 1, 6), strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(dense), atol=1e-5, rtol=1e-5)
