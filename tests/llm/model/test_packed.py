"""Packing changes where the weights lie, not what they say."""

import copy

import pytest
import torch

from services.llm.engine.engine import EngineConfig
from services.llm.model.attention import DenseAttention, prefix_mask
from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Decoder
from services.llm.model.fusion import GatingUnit
from services.llm.model.packed import can_pack, pack
from services.llm.tokenizer import Tokenizer
from tests.bundles import tiny_backbone
from tests.llm.engine.questions import Bench, Questions, plain_answer

CONFIG = DecoderConfig.tiny(64)


def packed(decoder: Decoder) -> Decoder:
    twin = copy.deepcopy(decoder)
    pack(twin)
    return twin


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("length", [1, 5, 40])
@torch.inference_mode()
def test_hidden_states_and_logits_stay(dtype: torch.dtype, tolerance: float, length: int) -> None:
    dense = tiny_backbone(CONFIG, seed=1)[0].to(dtype)
    x_TD = torch.randn(length, CONFIG.hidden_size, dtype=dtype)
    attend = DenseAttention(prefix_mask(length, []))
    expected, found = (
        decoder.logits(decoder(x_TD, torch.arange(length), attend)).float()
        for decoder in (dense, packed(dense))
    )
    assert (found - expected).norm() < tolerance * expected.norm()


def test_greedy_tokens_equal_those_of_the_plain_weights(
    tokenizer: Tokenizer, backbone: tuple[Decoder, GatingUnit]
) -> None:
    questions = Questions(tokenizer, *backbone)
    requests = questions.mixed(16, seed=3)
    answers = Bench(packed(backbone[0]), EngineConfig(max_batch_tokens=40, max_running=8)).answer(requests)
    for request in requests:
        plain = plain_answer(backbone[0], request)
        assert answers[request.request_id] == [t for t in plain if t not in backbone[0].config.eos_token_ids]


def test_the_embedding_outlives_a_tied_head(backbone: tuple[Decoder, GatingUnit]) -> None:
    twin = packed(backbone[0])
    torch.testing.assert_close(twin.embed(torch.arange(9)), backbone[0].embed(torch.arange(9)))


def test_what_onednn_does_not_read_is_left_alone() -> None:
    assert can_pack(tiny_backbone(CONFIG, seed=1)[0])
    assert not can_pack(tiny_backbone(CONFIG, seed=1)[0].half())
    with torch.device("meta"):
        assert not can_pack(Decoder(CONFIG))
