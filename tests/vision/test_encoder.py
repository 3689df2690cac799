"""The encoder at work."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from prometheus_client import REGISTRY

from servicekit.checkpoint import CheckpointError
from servicekit.errors import Unavailable
from services.vision.checkpoint import Prepared
from services.vision.encoder import Encoder
from services.vision.glm4v import Glm4vCheckpoint
from services.vision.model.native import VisionEncoder, normalise
from services.vision.native import NativeCheckpoint
from tests.pictures import file_of, photo
from tests.vision.gate import Gate
from tests.vision.published import reference, write_folder


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def prepared(seed: int) -> Prepared:
    return Prepared(pixels(seed), 16, 16)


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"autoglm_vision_{name}") or 0.0


def encodes() -> float:
    return metric("encodes_total")


async def test_embedding_is_what_the_model_gives(encoder: Encoder) -> None:
    forward = await encoder.encode(prepared(1))
    model = await encoder.load()
    with torch.inference_mode():
        expected = model(normalise(torch.from_numpy(pixels(1)[None])))[0]
    assert torch.equal(forward.embedding, expected)
    assert forward.seconds > 0


async def test_requests_that_wait_share_one_forward_and_get_their_own_rows(encoder: Encoder) -> None:
    alone = [await encoder.encode(prepared(seed)) for seed in range(5)]
    gate = Gate(await encoder.load())
    first = asyncio.create_task(encoder.encode(prepared(0)))
    await asyncio.to_thread(gate.wait_entered)
    rest = [asyncio.create_task(encoder.encode(prepared(seed))) for seed in range(1, 5)]
    await asyncio.sleep(0)
    gate.open()
    together = await asyncio.gather(first, *rest)
    assert gate.batches == [1, 4]
    for one, shared in zip(alone, together, strict=True):
        torch.testing.assert_close(shared.embedding, one.embedding, rtol=1e-4, atol=1e-5)


async def test_an_embedding_does_not_hold_the_memory_of_its_batch(encoder: Encoder) -> None:
    gate = Gate(await encoder.load())
    gate.open()
    forwards = await asyncio.gather(*(encoder.encode(prepared(seed)) for seed in range(4)))
    assert gate.batches == [4]
    for forward in forwards:
        assert forward.embedding.untyped_storage().nbytes() == forward.embedding.nbytes


async def test_every_picture_of_a_forward_is_counted_and_a_trial_is_not(encoder: Encoder) -> None:
    before = encodes()
    await encoder.try_out(prepared(0))
    assert encodes() == before
    await asyncio.gather(*(encoder.encode(prepared(seed)) for seed in range(3)))
    assert encodes() == before + 3


async def test_pictures_of_several_sizes_share_a_forward_by_patches(tmp_path: Path) -> None:
    checkpoint = Glm4vCheckpoint.open(write_folder(tmp_path / "small", reference()))
    encoder = Encoder(checkpoint, torch.device("cpu"), torch.float32, max_batch=8, max_patches=100)
    gate, before = Gate(await encoder.load()), metric("patches_total")
    sizes = [(84, 84), (84, 84), (84, 112), (140, 140), (280, 280)]  # 36, 36, 48, 100 and 400 patches
    pictures = [checkpoint.prepare(file_of(photo(*size)), 100_000) for size in sizes]
    first = asyncio.create_task(encoder.encode(pictures[0]))
    await asyncio.to_thread(gate.wait_entered)
    rest = [asyncio.create_task(encoder.encode(picture)) for picture in pictures[1:]]
    await asyncio.sleep(0)
    gate.open()
    forwards = await asyncio.gather(first, *rest)
    await encoder.close()
    assert gate.batches == [36, 36 + 48, 100, 400]
    assert [len(forward.embedding) for forward in forwards] == [9, 9, 12, 25, 100]
    assert metric("patches_total") == before + 36 * 2 + 48 + 100 + 400


async def test_first_use_loads_once_for_all(encoder: Encoder) -> None:
    assert not encoder.loaded
    models = await asyncio.gather(*(encoder.load() for _ in range(5)))
    assert encoder.loaded
    assert len(set(map(id, models))) == 1


async def test_load_goes_on_when_its_first_caller_leaves(encoder: Encoder) -> None:
    leaving = asyncio.create_task(encoder.load())
    await asyncio.sleep(0)
    leaving.cancel()
    staying = asyncio.create_task(encoder.encode(prepared(0)))
    assert (await staying).embedding.isfinite().all()


async def test_failed_load_is_named_and_tried_again(encoder: Encoder) -> None:
    weights = encoder.checkpoint.folder / "model.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    with pytest.raises(Unavailable) as raised:
        await encoder.encode(prepared(0))
    assert raised.value.reason == "MODEL_UNAVAILABLE"
    assert str(weights) not in raised.value.message
    weights.write_bytes(kept)
    assert (await encoder.encode(prepared(0))).embedding.isfinite().all()


async def test_weights_that_are_not_finite_fail_the_trial(encoder: Encoder) -> None:
    model = await encoder.load()
    assert isinstance(model, VisionEncoder)
    model.projector.bias.fill_(torch.inf)
    with pytest.raises(CheckpointError, match="not finite"):
        await encoder.try_out(prepared(0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
async def test_half_precision_stays_close(bundle: Path, encoder: Encoder, dtype: torch.dtype) -> None:
    half = Encoder(NativeCheckpoint.open(bundle), torch.device("cpu"), dtype, max_batch=4)
    embedding = (await half.encode(prepared(0))).embedding
    await half.close()
    assert embedding.dtype == dtype
    exact = (await encoder.encode(prepared(0))).embedding
    torch.testing.assert_close(embedding.float(), exact, rtol=0.1, atol=0.05)
