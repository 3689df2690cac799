"""The way of a picture through cache, single flight, decoding and encoder."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import torch
from prometheus_client import REGISTRY

from servicekit.errors import InvalidArgument, ResourceExhausted
from services.vision.encoder import Encoder
from services.vision.pipeline import Encoded, Pipeline
from services.vision.settings import VisionSettings
from tests.pictures import file_of, photo
from tests.vision.gate import Gate

MakePipeline = Callable[..., Pipeline]


@pytest.fixture
async def make(encoder: Encoder, bundle: Path) -> AsyncIterator[MakePipeline]:
    pipelines = []

    def make(**values: object) -> Pipeline:
        pipelines.append(Pipeline(encoder, VisionSettings.model_validate({"model": bundle, **values})))
        return pipelines[-1]

    yield make
    for pipeline in pipelines:
        await pipeline.close()


@pytest.fixture
async def gate(encoder: Encoder) -> AsyncIterator[Gate]:
    gate = Gate(await encoder.load())
    yield gate
    gate.open()


def encodes() -> float:
    return REGISTRY.get_sample_value("autoglm_vision_encodes_total") or 0.0


def ask(pipeline: Pipeline, seed: int) -> asyncio.Task[Encoded]:
    return asyncio.create_task(pipeline.encode(file_of(photo(seed=seed))))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def in_work() -> float:
    return REGISTRY.get_sample_value("autoglm_vision_pictures_in_work") or 0.0


async def test_a_picture_is_decoded_and_encoded(make: MakePipeline) -> None:
    data = file_of(photo(40, 30))
    encoded = await make().encode(data)
    assert encoded.digest == hashlib.sha256(data).digest()
    assert encoded.encoding.embedding.shape == (4, 32)
    assert (encoded.encoding.width, encoded.encoding.height) == (40, 30)
    assert not encoded.cache_hit
    assert encoded.timings.decode_s > 0
    assert encoded.timings.forward_s > 0
    assert encoded.timings.queue_s >= 0


async def test_a_picture_seen_before_costs_no_forward(make: MakePipeline) -> None:
    pipeline, before = make(), encodes()
    first = await ask(pipeline, 0)
    second = await ask(pipeline, 0)
    assert second.cache_hit
    assert second.timings.forward_s == 0
    assert torch.equal(second.encoding.embedding, first.encoding.embedding)
    assert encodes() == before + 1


async def test_without_a_cache_every_picture_costs_a_forward(make: MakePipeline) -> None:
    pipeline, before = make(cache_bytes=0), encodes()
    await ask(pipeline, 0)
    await ask(pipeline, 0)
    assert encodes() == before + 2


async def test_two_requests_for_the_same_picture_at_once_cost_one_forward(
    make: MakePipeline, gate: Gate
) -> None:
    pipeline = make()
    callers = [ask(pipeline, 0), ask(pipeline, 0)]
    await asyncio.to_thread(gate.wait_entered)
    gate.open()
    first, second = await asyncio.gather(*callers)
    assert gate.batches == [1]
    assert torch.equal(first.encoding.embedding, second.encoding.embedding)


async def test_one_caller_may_leave_without_harm_to_the_other(make: MakePipeline, gate: Gate) -> None:
    pipeline = make()
    leaving, staying = ask(pipeline, 0), ask(pipeline, 0)
    await asyncio.to_thread(gate.wait_entered)
    leaving.cancel()
    gate.open()
    assert (await staying).encoding.embedding.shape == (4, 32)
    assert gate.batches == [1]


async def test_picture_nobody_waits_for_is_not_encoded(make: MakePipeline, gate: Gate) -> None:
    pipeline = make()
    running = ask(pipeline, 0)
    await asyncio.to_thread(gate.wait_entered)
    abandoned = ask(pipeline, 1)
    await until(lambda: in_work() == 2)
    abandoned.cancel()
    await until(lambda: in_work() == 1)
    gate.open()
    await running
    await ask(pipeline, 2)
    assert gate.batches == [1, 1]


async def test_full_queue_refuses_new_pictures_and_admits_known_ones(make: MakePipeline, gate: Gate) -> None:
    pipeline = make(max_queue=2)
    callers = [ask(pipeline, 0), ask(pipeline, 1)]
    await until(lambda: in_work() == 2)
    with pytest.raises(ResourceExhausted) as raised:
        await ask(pipeline, 2)
    assert raised.value.reason == "QUEUE_FULL"
    assert raised.value.retry_after_s
    callers.append(ask(pipeline, 1))
    gate.open()
    await asyncio.gather(*callers)
    assert (await ask(pipeline, 2)).encoding.embedding.isfinite().all()


async def test_fifty_pictures_at_once_all_get_their_own_embedding(make: MakePipeline) -> None:
    busy, quiet = make(), make()
    together = await asyncio.gather(*(ask(busy, seed) for seed in range(50)))
    for seed in (0, 17, 49):
        alone = await ask(quiet, seed)
        torch.testing.assert_close(
            together[seed].encoding.embedding, alone.encoding.embedding, rtol=1e-4, atol=1e-5
        )
    assert len({tuple(encoded.encoding.embedding.flatten().tolist()) for encoded in together}) == 50


async def test_refused_picture_costs_no_forward_and_leaves_no_trace(make: MakePipeline) -> None:
    pipeline, before = make(max_image_bytes=500_000, max_image_pixels=10_000), encodes()
    reasons = []
    for data in (b"", b"x" * 500_001, file_of(photo(200, 200)), b"no picture", file_of(photo())[:-50]):
        with pytest.raises(InvalidArgument) as raised:
            await pipeline.encode(data)
        reasons.append(raised.value.reason)
    assert reasons == [
        "IMAGE_EMPTY",
        "IMAGE_TOO_LARGE",
        "IMAGE_TOO_MANY_PIXELS",
        "IMAGE_UNREADABLE",
        "IMAGE_TRUNCATED",
    ]
    assert encodes() == before
    assert in_work() == 0


async def test_warm_up_loads_and_counts_nothing(make: MakePipeline, encoder: Encoder) -> None:
    before = encodes()
    await make().warm_up()
    assert encoder.loaded
    assert encodes() == before


async def test_lazy_warm_up_leaves_the_weights_on_disk(make: MakePipeline, encoder: Encoder) -> None:
    pipeline = make(lazy_load=True)
    await pipeline.warm_up()
    assert not encoder.loaded
    await ask(pipeline, 0)
    assert encoder.loaded


async def test_stuck_forward_makes_it_unhealthy_until_it_ends(make: MakePipeline, gate: Gate) -> None:
    pipeline = make(stall_seconds=0.02)
    assert pipeline.healthy()
    waiting = ask(pipeline, 0)
    await until(lambda: not pipeline.healthy())
    gate.open()
    await waiting
    assert pipeline.healthy()
