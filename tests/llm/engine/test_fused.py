"""An engine whose steps are fused says what the plain pass says, in any company."""

from dataclasses import replace

import pytest
import torch

from services.llm.engine.engine import EngineConfig
from services.llm.engine.fused import FusedSteps
from services.llm.engine.request import Request, SamplingParams, Sequence
from services.llm.engine.runner import Runner
from services.llm.engine.scheduler import Chunk
from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Decoder
from services.llm.model.kernels import load_kernels
from services.llm.model.packed import pack
from services.llm.model.paged import PagedCache
from tests.bundles import tiny_backbone
from tests.llm.engine.questions import Bench, cache_of, told

CONFIG = DecoderConfig(64, 48, 80, 3, 4, 2, 16, 512, eos_token_ids=(0,))
VARIANTS = {"plain": CONFIG, "three axes": replace(CONFIG, mrope_section=(1, 1, 2))}
TOGETHER = EngineConfig(max_running=11, max_batch_tokens=40)

pytestmark = pytest.mark.skipif(load_kernels(torch.float32) is None, reason="needs a C compiler")


def packed(config: DecoderConfig) -> Decoder:
    decoder = tiny_backbone(config, seed=0)[0]
    pack(decoder)
    return decoder


@pytest.fixture(scope="module", params=VARIANTS)
def asked(request: pytest.FixtureRequest) -> tuple[Decoder, list[Request], dict[str, list[int]]]:
    """A packed decoder, requests of many lengths, and the plain pass's answers."""
    config = VARIANTS[request.param]
    drawn, made = torch.Generator().manual_seed(11), []
    for index in range(20):
        length = 3 + 7 * index % 60
        ids = torch.randint(1, config.vocab_size, (length,), generator=drawn).tolist()
        one = Request(f"q{index}", ids, SamplingParams(max_tokens=5 + 11 * index % 40))
        if config.mrope_section and index % 2:
            places = torch.arange(length).clamp(max=length - 2).expand(3, -1)
            one = replace(one, positions=places, position_delta=-1)
        made.append(one)
    dense = tiny_backbone(config, seed=0)[0]
    return packed(config), made, {one.request_id: told(dense, one) for one in made}


def test_a_packed_decoder_gets_fused_steps() -> None:
    decoder = packed(CONFIG)
    cache = PagedCache(CONFIG, 9, 16, torch.float32, torch.device("cpu"))
    assert isinstance(Runner(decoder, cache).steps, FusedSteps)
    assert Runner(decoder, cache, static=False).steps is None


@pytest.mark.parametrize("guesses", [0, 4])
def test_answers_equal_the_plain_pass(
    asked: tuple[Decoder, list[Request], dict[str, list[int]]], guesses: int
) -> None:
    decoder, requests, plain = asked
    bench = Bench(decoder, replace(TOGETHER, speculative_tokens=guesses))
    assert bench.answer(requests) == plain
    assert bench.all_blocks_free


def test_preemption_changes_no_answer(asked: tuple[Decoder, list[Request], dict[str, list[int]]]) -> None:
    decoder, requests, plain = asked
    most = max(-(-one.max_length // 16) for one in requests) + 1
    bench = Bench(decoder, replace(TOGETHER, kv_cache_bytes=cache_of(decoder, most)))
    assert bench.answer(requests) == plain
    assert bench.engine.stats.preemptions > 0


def test_a_delta_moves_the_token_and_not_its_place() -> None:
    """Position and index differ behind a picture; a fused step that mixed them up would show here."""
    config = VARIANTS["three axes"]
    cache = PagedCache(config, 9, 16, torch.float32, torch.device("cpu"))
    ids, told_by = list(range(1, 20)), []
    for static in (None, False):
        runner = Runner(packed(config), cache, static)
        places = torch.arange(19).clamp(max=9).expand(3, -1)
        sequence = Sequence(Request("r", ids, positions=places, position_delta=-9))
        sequence.block_table = [3, 1]
        (first,) = runner.run([Chunk(sequence, 0, 19)])
        sequence.token_ids += first.tokens
        (second,) = runner.run([Chunk(sequence, 19, 20)])
        told_by.append((first.tokens, second.tokens))
    assert told_by[0] == told_by[1]
