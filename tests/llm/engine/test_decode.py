"""Decoding over static buffers says what the plain pass says; on a GPU, so do its graphs."""

from dataclasses import replace

import pytest
import torch

from services.llm.engine.decode import Bucket, DecodeStep, can_decode
from services.llm.engine.engine import EngineConfig
from services.llm.engine.request import Request, SamplingParams, Sequence
from services.llm.engine.scheduler import Chunk
from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Decoder
from services.llm.model.packed import pack
from services.llm.model.paged import PagedCache
from tests.bundles import tiny_backbone
from tests.llm.engine.questions import Bench, cache_of, told

STATIC = EngineConfig(max_running=11, max_batch_tokens=40, block_size=4, static_decode=True)
CPU = torch.device("cpu")
CONFIG = DecoderConfig.tiny(64)
VARIANTS = {
    "plain": CONFIG,
    "windowed": replace(CONFIG, sliding_window=24, global_tokens=6),
    "three axes": replace(CONFIG, mrope_section=(1, 1)),
}


def requests(config: DecoderConfig) -> list[Request]:
    """Prompts of many lengths; with three axes, some that take up fewer positions than tokens."""
    drawn, made = torch.Generator().manual_seed(7), []
    for index in range(13):
        length, answer = 3 + 7 * index % 60, 5 + 11 * index % 40
        ids = torch.randint(1, config.vocab_size, (length,), generator=drawn).tolist()
        request = Request(f"q{index}", ids, SamplingParams(max_tokens=answer))
        if config.mrope_section and index % 2:
            places = torch.arange(length).clamp(max=length - 2).expand(3, -1)
            request = replace(request, positions=places, position_delta=-1)
        made.append(request)
    return made


@pytest.fixture(scope="module", params=VARIANTS)
def asked(request: pytest.FixtureRequest) -> tuple[Decoder, list[Request], dict[str, list[int]]]:
    """A decoder, requests, and the plain pass's answers to them."""
    decoder = tiny_backbone(VARIANTS[request.param], seed=0)[0]
    made = requests(decoder.config)
    return decoder, made, {one.request_id: told(decoder, one) for one in made}


@pytest.mark.parametrize("guesses", [0, 4])
def test_static_steps_equal_the_plain_pass(
    asked: tuple[Decoder, list[Request], dict[str, list[int]]], guesses: int
) -> None:
    decoder, made, plain = asked
    bench = Bench(decoder, replace(STATIC, speculative_tokens=guesses))
    assert bench.answer(made) == plain
    assert bench.all_blocks_free


def test_preemption_changes_no_answer(asked: tuple[Decoder, list[Request], dict[str, list[int]]]) -> None:
    decoder, made, plain = asked
    most = max(one.max_length for one in made) // 4 + 4
    bench = Bench(decoder, replace(STATIC, kv_cache_bytes=cache_of(decoder, most, block_size=4)))
    assert bench.answer(made) == plain
    assert bench.engine.stats.preemptions > 0


def sequence(token_ids: list[int], answer: list[int], blocks: list[int]) -> Sequence:
    made = Sequence(Request("r", token_ids))
    made.token_ids += answer
    made.block_table = blocks
    return made


@torch.inference_mode()
def test_rows_of_nobody_write_where_nobody_reads() -> None:
    decoder = tiny_backbone(CONFIG, seed=0)[0]
    cache = PagedCache(CONFIG, 3, 4, torch.float32, CPU)
    for layer in cache.layers:
        layer.fill_(7.0)
    step = DecodeStep(decoder, cache, Bucket(8, 64))
    step.fill([Chunk(sequence([5, 9, 2], [4, 6], [2, 0]), 4, 5)])
    assert step.compute().isfinite().all()
    for layer in cache.layers:
        changed = (layer.flatten(0, 1) != 7.0).flatten(1).any(1).nonzero().flatten().tolist()
        assert changed == [0, cache.spare_block * 4], "the token's own slot, and the spare block's first"


def test_buckets_are_few() -> None:
    chunks = [Chunk(sequence([1], [2] * 4999, []), index, index + 1) for index in range(1, 5000)]
    rows = {Bucket.around(chunks[:count], 16).rows for count in range(1, 33)}
    blocks = {Bucket.around([chunk], 16).blocks for chunk in chunks}
    assert rows == {1, 2, 4, 8, 16, 24, 32}
    assert blocks == {16, 32, 64, 128, 256, 512}


def test_only_lone_tokens_of_answers_take_the_static_way() -> None:
    one = sequence([5, 9, 2], [4], [0])
    assert can_decode([Chunk(one, 3, 4)])
    assert not can_decode([Chunk(one, 3, 4, drafts=(8,))])
    assert not can_decode([Chunk(one, 3, 4), Chunk(sequence([5, 9, 2], [], [1]), 2, 3)])
    assert not can_decode([Chunk(sequence([5], [4, 6], [0]), 1, 2)]), "more is to be computed again"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("packed", [False, True])
def test_graphs_equal_the_plain_pass(
    asked: tuple[Decoder, list[Request], dict[str, list[int]]], packed: bool
) -> None:
    decoder, made, plain = asked
    on_gpu = tiny_backbone(decoder.config, seed=0)[0].cuda()
    if packed:
        pack(on_gpu)
    bench = Bench(on_gpu, replace(STATIC, static_decode=None))
    assert bench.answer(made) == plain
    assert bench.answer([replace(one, request_id=f"again {one.request_id}") for one in made]) == {
        f"again {name}": tokens for name, tokens in plain.items()
    }
