"""VisionService against its contract: a real server, a real channel, a tiny random encoder."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
import torch
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from PIL import Image
from prometheus_client import REGISTRY

from autoglm.tensor.v1 import tensor_pb2
from autoglm.vision.v1 import vision_pb2, vision_pb2_grpc
from servicekit.channel import open_channel
from servicekit.server import RunningServer, running
from servicekit.settings import SettingsError
from servicekit.tensors import Assembler
from services.vision.encoder import Encoder
from services.vision.model.native import VisionConfig
from services.vision.native import NativeCheckpoint
from services.vision.service import NAME, build_service, create_service
from services.vision.settings import VisionSettings
from tests.bundles import write_vision_bundle
from tests.pictures import file_of, photo
from tests.vision.gate import Gate

Stub: TypeAlias = "vision_pb2_grpc.VisionServiceAsyncStub"  # exists for type checkers only
LIMIT_S = 10.0


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    torch.set_num_threads(1)
    return write_vision_bundle(tmp_path).parent


@asynccontextmanager
async def serving(bundle: Path, **values: Any) -> AsyncIterator[tuple[Stub, Encoder, RunningServer]]:
    settings = VisionSettings(port=0, health_port=0, metrics_port=None, model=bundle, **values)
    encoder = Encoder(NativeCheckpoint.open(bundle), torch.device("cpu"), torch.float32, settings.max_batch)
    async with (
        running(build_service(encoder, settings), settings) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield vision_pb2_grpc.VisionServiceStub(channel), encoder, server


async def encode(
    stub: Stub, image: bytes, limit_s: float = LIMIT_S
) -> tuple[vision_pb2.EncodeImageHeader, torch.Tensor]:
    header, assembler = None, None
    async for response in stub.EncodeImage(vision_pb2.EncodeImageRequest(image=image), timeout=limit_s):
        if assembler is None:
            assert response.WhichOneof("part") == "header"
            header, assembler = response.header, Assembler(response.header.embedding)
        else:
            assembler.add(response.chunk)
    assert header is not None
    assert assembler is not None
    return header, assembler.finish()


async def refusal(stub: Stub, image: bytes, limit_s: float = LIMIT_S) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await encode(stub, image, limit_s)
    return raised.value


def detail(error: grpc.aio.AioRpcError, kind: type[Any]) -> Any:
    status = rpc_status.from_call(error)
    assert status is not None
    [found] = [packed for packed in status.details if packed.Is(kind.DESCRIPTOR)]
    message = kind()
    found.Unpack(message)
    return message


def reason(error: grpc.aio.AioRpcError) -> str:
    info = detail(error, error_details_pb2.ErrorInfo)
    assert info.domain == "vision.autoglm"
    return str(info.reason)


def encodes() -> float:
    return REGISTRY.get_sample_value("autoglm_vision_encodes_total") or 0.0


async def test_get_model_describes_the_encoder(bundle: Path) -> None:
    async with serving(bundle, max_image_bytes=1000, max_image_pixels=2000) as (stub, encoder, _):
        response = await stub.GetModel(vision_pb2.GetModelRequest(), timeout=LIMIT_S)
    assert response == vision_pb2.GetModelResponse(
        model=tensor_pb2.ModelInfo(
            name="tiny",
            fingerprint=encoder.checkpoint.fingerprint,
            hidden_size=32,
            data_type=tensor_pb2.DATA_TYPE_FLOAT32,
            device="cpu",
            loaded=True,
            parameter_count=encoder.checkpoint.parameter_count,
        ),
        max_image_bytes=1000,
        max_image_pixels=2000,
    )


async def test_encode_answers_with_a_header_and_the_embedding_it_announces(bundle: Path) -> None:
    data = file_of(photo(40, 30), "JPEG")
    async with serving(bundle) as (stub, encoder, _):
        header, embedding = await encode(stub, data)
    assert header.embedding == tensor_pb2.EmbeddingHeader(
        modality=tensor_pb2.MODALITY_IMAGE,
        media_digest=hashlib.sha256(data).digest(),
        model_fingerprint=encoder.checkpoint.fingerprint,
        token_count=4,
        shape=[4, 32],
        data_type=tensor_pb2.DATA_TYPE_FLOAT32,
    )
    assert (header.width, header.height) == (40, 30)
    assert embedding.isfinite().all()


async def test_large_embedding_comes_in_chunks_of_at_most_a_mebibyte(tmp_path: Path) -> None:
    wide = replace(VisionConfig.tiny(), hidden_size=150_000)
    bundle = write_vision_bundle(tmp_path, config=wide).parent
    async with serving(bundle) as (stub, *_):
        request = vision_pb2.EncodeImageRequest(image=file_of(photo()))
        header, *chunks = [response async for response in stub.EncodeImage(request, timeout=LIMIT_S)]
    assert list(header.header.embedding.shape) == [4, 150_000]
    assert [list(response.chunk.shape) for response in chunks] == [[1, 150_000]] * 4
    assert all(len(response.chunk.data) <= 1024 * 1024 for response in chunks)


async def test_rotated_picture_is_reported_upright(bundle: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    async with serving(bundle) as (stub, *_):
        header, _ = await encode(stub, file_of(photo(40, 30), "JPEG", exif=exif))
    assert (header.width, header.height) == (30, 40)


async def test_picture_asked_again_is_a_cache_hit_without_a_new_encode(bundle: Path) -> None:
    data = file_of(photo())
    async with serving(bundle) as (stub, *_):
        before = encodes()
        first, embedding = await encode(stub, data)
        assert encodes() == before + 1
        second, again = await encode(stub, data)
        assert encodes() == before + 1
    assert (first.cache_hit, second.cache_hit) == (False, True)
    assert first.timings.forward_ms > 0
    assert second.timings == vision_pb2.EncodeImageTimings()
    assert torch.equal(embedding, again)


async def test_same_picture_asked_twice_at_once_costs_one_encode(bundle: Path) -> None:
    data = file_of(photo())
    async with serving(bundle) as (stub, encoder, _):
        gate = Gate(await encoder.load())
        callers = [asyncio.create_task(encode(stub, data)) for _ in range(2)]
        await asyncio.to_thread(gate.wait_entered)
        gate.open()
        (_, first), (_, second) = await asyncio.gather(*callers)
    assert gate.batches == [1]
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("expected", "image"),
    [
        ("IMAGE_EMPTY", b""),
        ("IMAGE_TOO_LARGE", b"x" * 500_001),
        ("IMAGE_TOO_MANY_PIXELS", file_of(Image.new("L", (200, 200)))),
        ("IMAGE_UNREADABLE", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("IMAGE_TRUNCATED", file_of(photo(), "JPEG")[:-100]),
    ],
)
async def test_picture_that_cannot_be_used_is_refused_by_name(
    bundle: Path, expected: str, image: bytes
) -> None:
    async with serving(bundle, max_image_bytes=500_000, max_image_pixels=39_999) as (stub, *_):
        error = await refusal(stub, image)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reason(error) == expected
    assert detail(error, error_details_pb2.BadRequest).field_violations[0].field == "image"


async def test_message_over_the_cap_is_refused_and_the_service_lives_on(bundle: Path) -> None:
    limits = {"max_image_bytes": 50_000, "max_message_bytes": 100_000}
    async with serving(bundle, **limits) as (stub, *_):
        error = await refusal(stub, b"x" * 100_001)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        await encode(stub, file_of(photo()))


async def test_full_queue_is_named_and_says_when_to_come_again(bundle: Path) -> None:
    async with serving(bundle, max_queue=1) as (stub, encoder, _):
        gate = Gate(await encoder.load())
        waiting = asyncio.create_task(encode(stub, file_of(photo(seed=1))))
        await asyncio.to_thread(gate.wait_entered)
        error = await refusal(stub, file_of(photo(seed=2)))
        gate.open()
        await waiting
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason(error) == "QUEUE_FULL"
    assert detail(error, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() > 0


async def test_weights_lost_after_a_lazy_start_are_named_and_found_again(bundle: Path) -> None:
    weights = bundle / "vision" / "model.safetensors"
    kept = weights.read_bytes()
    async with serving(bundle, lazy_load=True) as (stub, *_):
        weights.unlink()
        error = await refusal(stub, file_of(photo()))
        weights.write_bytes(kept)
        await encode(stub, file_of(photo()))
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert reason(error) == "MODEL_UNAVAILABLE"


async def test_lazy_service_is_ready_before_it_is_loaded(bundle: Path) -> None:
    async with serving(bundle, lazy_load=True) as (stub, _, server):
        assert await health(server) == health_pb2.HealthCheckResponse.SERVING
        assert not (await stub.GetModel(vision_pb2.GetModelRequest(), timeout=LIMIT_S)).model.loaded
        await encode(stub, file_of(photo()))
        assert (await stub.GetModel(vision_pb2.GetModelRequest(), timeout=LIMIT_S)).model.loaded


async def test_deadline_ends_the_call_and_the_work(bundle: Path) -> None:
    async with serving(bundle) as (stub, encoder, _):
        gate = Gate(await encoder.load())
        running_first = asyncio.create_task(encode(stub, file_of(photo(seed=1))))
        await asyncio.to_thread(gate.wait_entered)
        error = await refusal(stub, file_of(photo(seed=2)), limit_s=0.2)
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await settled(1)
        gate.open()
        await running_first
        await encode(stub, file_of(photo(seed=3)))
    assert gate.batches == [1, 1]


async def test_cancelled_call_is_not_encoded(bundle: Path) -> None:
    async with serving(bundle) as (stub, encoder, _):
        gate = Gate(await encoder.load())
        running_first = asyncio.create_task(encode(stub, file_of(photo(seed=1))))
        await asyncio.to_thread(gate.wait_entered)
        request = vision_pb2.EncodeImageRequest(image=file_of(photo(seed=2)))
        call = stub.EncodeImage(request, timeout=LIMIT_S)
        await settled(2)
        call.cancel()
        await settled(1)
        gate.open()
        await running_first
        await encode(stub, file_of(photo(seed=3)))
    assert gate.batches == [1, 1]


async def test_half_precision_travels_as_it_is(bundle: Path) -> None:
    settings = VisionSettings(
        port=0, health_port=0, metrics_port=None, model=bundle, dtype="bfloat16", device="cpu"
    )
    async with (
        running(await create_service(settings), settings) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        header, embedding = await encode(vision_pb2_grpc.VisionServiceStub(channel), file_of(photo()))
    assert header.embedding.data_type == tensor_pb2.DATA_TYPE_BFLOAT16
    assert embedding.dtype == torch.bfloat16


async def test_model_folder_without_an_encoder_prevents_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"vision\.model: .*config\.json cannot be read"):
        await create_service(VisionSettings(model=tmp_path / "nowhere"))


async def health(server: RunningServer) -> int:
    async with open_channel(f"127.0.0.1:{server.health_port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        response = await stub.Check(health_pb2.HealthCheckRequest(service=NAME), timeout=LIMIT_S)
    return int(response.status)


async def settled(pictures: int) -> None:
    """Waits until that many pictures are in work."""
    async with asyncio.timeout(LIMIT_S):
        while REGISTRY.get_sample_value("autoglm_vision_pictures_in_work") != pictures:
            await asyncio.sleep(0.005)
