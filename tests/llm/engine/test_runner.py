"""A pass computes all chunks at once, and gives one answer to each that completes its sequence."""

import pytest
import torch

from services.llm.engine.request import PositionsMissing, Request, SamplingParams, Sequence
from services.llm.engine.runner import Runner
from services.llm.engine.scheduler import Chunk
from services.llm.model.attention import DenseAttention, prefix_mask
from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Decoder
from services.llm.model.paged import PagedCache
from tests.bundles import tiny_backbone
from tests.llm.engine.questions import plain_answer

CONFIG = DecoderConfig.tiny(64)
PROMPT = [5, 9, 2, 33, 17, 41, 8]


@pytest.fixture
def decoder() -> Decoder:
    return tiny_backbone(CONFIG, seed=4)[0]


def runner_over(decoder: Decoder) -> Runner:
    return Runner(decoder, PagedCache(CONFIG, 16, 4, torch.float32, torch.device("cpu")))


def sequence(blocks: list[int], token_ids: list[int] = PROMPT, **params: int) -> Sequence:
    made = Sequence(Request("r", token_ids, SamplingParams(**params)))
    made.block_table = blocks
    return made


def plain(decoder: Decoder, token_ids: list[int], count: int) -> list[int]:
    return plain_answer(decoder, Request("plain", token_ids, SamplingParams(max_tokens=count)))


def test_only_chunks_that_complete_are_answered_in_order(decoder: Decoder) -> None:
    whole, part, other = sequence([1, 4, 0]), sequence([9, 2, 3]), sequence([5, 6, 7], PROMPT[::-1])
    chunks = [Chunk(whole, 0, 7), Chunk(part, 0, 3), Chunk(other, 0, 7)]
    answers = [sampled.tokens for sampled in runner_over(decoder).run(chunks)]
    assert answers == [plain(decoder, PROMPT, 1), plain(decoder, PROMPT[::-1], 1)]


@pytest.mark.parametrize("right", [0, 1, 3])
def test_drafts_are_verified_in_one_pass_beside_others(decoder: Decoder, right: int) -> None:
    answer = plain(decoder, PROMPT, 5)
    drafts = [*answer[1 : 1 + right], *[(token + 1) % 64 for token in answer[1 + right : 4]]]
    drafted, stranger = sequence([3, 1, 2]), sequence([10, 11, 12], PROMPT[::-1])
    runner = runner_over(decoder)
    runner.run([Chunk(drafted, 0, 7), Chunk(stranger, 0, 7)])
    for one in (drafted, stranger):
        one.token_ids.append(plain(decoder, one.request.token_ids, 1)[0])
    first, second = runner.run([Chunk(stranger, 7, 8), Chunk(drafted, 7, 8, tuple(drafts))])
    assert second.tokens == answer[1 : 2 + right]
    assert first.tokens == plain(decoder, PROMPT[::-1], 2)[1:]


def test_what_a_wrong_draft_left_in_the_cache_does_no_harm(decoder: Decoder) -> None:
    answer = plain(decoder, PROMPT, 6)
    drafted, runner = sequence([3, 1, 2, 0]), runner_over(decoder)
    runner.run([Chunk(drafted, 0, 7)])
    drafted.token_ids.append(answer[0])
    runner.run([Chunk(drafted, 7, 8, tuple((token + 1) % 64 for token in answer[1:4]))])
    for place in range(1, 5):
        drafted.token_ids.append(answer[place])
        (sampled,) = runner.run([Chunk(drafted, 7 + place, 8 + place)])
        assert sampled.tokens == [answer[place + 1]]


def test_logprobs_are_those_of_the_plain_pass(decoder: Decoder) -> None:
    (sampled,) = runner_over(decoder).run([Chunk(sequence([1, 4, 0], top_logprobs=3), 0, 7)])
    with torch.inference_mode():
        attend = DenseAttention(prefix_mask(7, []))
        hidden_TD = decoder(decoder.embed(torch.tensor(PROMPT)), torch.arange(7), attend)
        expected = decoder.logits(hidden_TD[-1]).log_softmax(-1)
    (logprobs,) = sampled.logprobs
    assert logprobs.logprob == pytest.approx(float(expected[sampled.tokens[0]]), abs=1e-4)
    assert [token for token, _ in logprobs.top] == expected.topk(3).indices.tolist()


@torch.inference_mode()
def test_given_positions_reach_prompt_and_answer() -> None:
    config = DecoderConfig(64, 32, 64, 2, 4, 2, 8, 512, mrope_section=(1, 1), partial_rotary_factor=0.5)
    decoder = tiny_backbone(config, seed=4)[0]
    positions_3T = torch.tensor([[0, 1, 1, 1, 1, 2, 3], [0, 1, 1, 2, 2, 2, 3], [0, 1, 2, 1, 2, 2, 3]])
    request = Request("r", PROMPT, positions=positions_3T, position_delta=-3)
    asked = Sequence(request)
    asked.block_table = [2, 0, 1]
    runner = Runner(decoder, PagedCache(config, 8, 4, torch.float32, torch.device("cpu")))
    tokens: list[int] = []
    for start, end in [(0, 4), (4, 7), (7, 8), (8, 9)]:
        for sampled in runner.run([Chunk(asked, start, end)]):
            asked.token_ids += sampled.tokens
            tokens += sampled.tokens
    whole = torch.cat((positions_3T, torch.tensor([[4, 5]]).expand(3, -1)), dim=1)
    attend = DenseAttention(prefix_mask(9, []))
    hidden_TD = decoder(decoder.embed(torch.tensor([*PROMPT, *tokens[:2]])), whole, attend)
    assert decoder.logits(hidden_TD[6:]).argmax(-1).tolist() == tokens


def test_a_delta_without_positions_is_refused() -> None:
    with pytest.raises(PositionsMissing, match="position_delta is -3"):
        Request("r", PROMPT, position_delta=-3)
