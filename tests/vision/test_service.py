"""A published encoder behind the contract: what travels, and what is refused. tests/contract has the rest."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
import torch

from autoglm.tensor.v1 import tensor_pb2
from autoglm.vision.v1 import vision_pb2, vision_pb2_grpc
from servicekit.channel import open_channel
from servicekit.server import running
from servicekit.settings import SettingsError
from servicekit.tensors import CHUNK_BYTES, Assembler, from_message
from services.vision.service import create_service
from services.vision.settings import VisionSettings
from tests.pictures import file_of, photo
from tests.vision.published import VISION, official_pixels, reference, write_folder

Stub: TypeAlias = "vision_pb2_grpc.VisionServiceAsyncStub"  # exists for type checkers only
LIMIT_S = 30.0
SCREEN = {"depth": 1, "hidden_size": 16, "num_heads": 1, "out_hidden_size": 512}
OFFICIAL_MAX_PIXELS = 5_000_000


def settings_of(model: Path, **values: Any) -> VisionSettings:
    return VisionSettings(port=0, health_port=0, metrics_port=None, model=model, **values)


@asynccontextmanager
async def serving(model: Path, **values: Any) -> AsyncIterator[Stub]:
    settings = settings_of(model, **values)
    async with (
        running(await create_service(settings), settings) as server,
        open_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield vision_pb2_grpc.VisionServiceStub(channel)


async def encode(stub: Stub, image: bytes) -> list[vision_pb2.EncodeImageResponse]:
    request = vision_pb2.EncodeImageRequest(image=image)
    return [response async for response in stub.EncodeImage(request, timeout=LIMIT_S)]


async def test_a_phone_screen_arrives_whole_with_its_grid(tmp_path: Path) -> None:
    model = reference(**SCREEN)
    folder, screen = write_folder(tmp_path / "phone", model), photo(1080, 2400)
    async with serving(folder, max_pixels=OFFICIAL_MAX_PIXELS) as stub:
        first, *rest = await encode(stub, file_of(screen.convert("RGBA")))
    header = first.header.embedding
    assert (header.token_count, list(header.shape)) == (3108, [3108, 512])
    assert (first.header.width, first.header.height) == (1080, 2400)
    assert header.model_fingerprint.startswith("phone@")
    [side] = header.side_tensors
    assert side.name == "grid_thw"
    assert side.tensor.data_type == tensor_pb2.DATA_TYPE_INT64
    assert from_message(side.tensor).tolist() == [1, 168, 74]
    assembler = Assembler(header)
    for response in rest:
        assert len(response.chunk.data) <= CHUNK_BYTES
        assembler.add(response.chunk)
    pixels, grid = official_pixels(screen, max_pixels=OFFICIAL_MAX_PIXELS)
    with torch.inference_mode():
        expected = model(pixels, torch.tensor([grid])).pooler_output
    tolerance = 1e-4 * expected.std().item()
    torch.testing.assert_close(assembler.finish(), expected, rtol=1e-4, atol=tolerance)


async def test_get_model_describes_a_published_encoder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "small-glm4v", reference())
    async with serving(folder, lazy_load=True) as stub:
        model = (await stub.GetModel(vision_pb2.GetModelRequest(), timeout=LIMIT_S)).model
        assert (model.name, model.hidden_size, model.loaded) == (
            "small-glm4v",
            VISION["out_hidden_size"],
            False,
        )
        await encode(stub, file_of(photo()))
        assert (await stub.GetModel(vision_pb2.GetModelRequest(), timeout=LIMIT_S)).model.loaded


async def test_a_strip_is_refused_and_a_dot_is_not(tmp_path: Path) -> None:
    async with serving(write_folder(tmp_path / "small", reference())) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await encode(stub, file_of(photo(8041, 40)))
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        [dot, *_] = await encode(stub, file_of(photo(1, 1)))
    assert dot.header.embedding.token_count == 9


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"architectures": ["Glm4ForCausalLM"]}, "vision.model: .*Glm4ForCausalLM has no vision encoder"),
        (
            {"architectures": ["Glm4vForConditionalGeneration"]},
            "vision.model: .*does not describe an encoder",
        ),
    ],
)
async def test_a_folder_that_cannot_be_served_is_a_wrong_setting(
    tmp_path: Path, raw: dict[str, Any], complaint: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(SettingsError, match=complaint):
        await create_service(settings_of(tmp_path))
