"""Reading beside the encoder: cached with the embedding, and never in its way."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from PIL import Image
from prometheus_client import REGISTRY

from services.vision.encoder import Encoder
from services.vision.pipeline import Pipeline
from services.vision.settings import VisionSettings
from services.vision.text.layout import Quad
from services.vision.text.reader import TextModel
from services.vision.text.runtime import TextRuntime
from tests.pictures import file_of, photo

Make = Callable[..., Pipeline]


class Model:
    """One line in every picture, once `gate` is open."""

    def __init__(self) -> None:
        self.looks = 0
        self.gate = threading.Event()
        self.gate.set()

    def find(self, image: Image.Image) -> list[Quad]:
        self.looks += 1
        self.gate.wait(5)
        return [Quad(0, 0, 20, 0, 20, 10, 0, 10)]

    def recognise(self, line: Image.Image) -> tuple[str, float]:
        return "水", 0.9


class Broken(Model):
    """Fails at the first look."""

    def find(self, image: Image.Image) -> list[Quad]:
        raise RuntimeError("a foreign library is at fault")


@pytest.fixture
async def make(encoder: Encoder, bundle: Path) -> AsyncIterator[Make]:
    pipelines = []

    def make(model: TextModel, limit_s: float = 5.0) -> Pipeline:
        text = TextRuntime(lambda: model, limit_s, 1_000_000)
        pipelines.append(Pipeline(encoder, VisionSettings(model=bundle), text))
        return pipelines[-1]

    yield make
    for pipeline in pipelines:
        await pipeline.close()


def encodes() -> float:
    return REGISTRY.get_sample_value("autoglm_vision_encodes_total") or 0.0


async def test_a_picture_is_read_once_however_many_ask(make: Make) -> None:
    model, data = Model(), file_of(photo())
    pipeline = make(model)
    answers = [
        *await asyncio.gather(pipeline.encode(data), pipeline.encode(data)),
        await pipeline.encode(data),
    ]
    assert [[line.text for line in answer.encoding.text.lines] for answer in answers] == [["水"]] * 3
    assert model.looks == 1
    assert answers[0].timings.read_s > 0
    assert answers[2].cache_hit


async def test_the_encoder_does_not_wait_for_the_reader(make: Make) -> None:
    model, before = Model(), encodes()
    model.gate.clear()
    asked = asyncio.create_task(make(model).encode(file_of(photo())))
    async with asyncio.timeout(4):
        while encodes() == before or not model.looks:
            await asyncio.sleep(0.001)
    assert not asked.done()
    model.gate.set()
    assert (await asked).encoding.text.complete


async def test_a_reader_that_fails_costs_the_lines_only_and_is_asked_again(make: Make) -> None:
    pipeline, data = make(Broken()), file_of(photo())
    for _ in range(2):
        answer = await pipeline.encode(data)
        assert answer.encoding.embedding.isfinite().all()
        assert answer.encoding.text.lines == ()
        assert not answer.encoding.text.complete
        assert not answer.cache_hit


async def test_what_was_not_read_in_time_is_not_kept(make: Make) -> None:
    model, data = Model(), file_of(photo())
    pipeline = make(model, limit_s=1e-9)
    assert not (await pipeline.encode(data)).encoding.text.complete
    assert not (await pipeline.encode(data)).cache_hit
    assert model.looks == 0


async def test_a_reader_that_cannot_be_loaded_is_not_tried_for_every_picture() -> None:
    tries = 0

    def load() -> TextModel:
        nonlocal tries
        tries += 1
        raise RuntimeError("no such weights")

    reader = TextRuntime(load, 5.0, 1_000_000)
    for n in range(3):
        assert not (await reader.read(file_of(photo(64, 48, n)))).complete
    assert tries == 1
    await reader.close()
