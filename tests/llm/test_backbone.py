"""The backbone is loaded once, and says which it is."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from servicekit.errors import Unavailable
from services.llm.backbone import LazyBackbone, display_name
from services.llm.checkpoint import Backbone
from services.llm.settings import LLMSettings
from tests.bundles import write_llm_bundle


@pytest.mark.parametrize(
    ("name", "shown"), [("autoglm-mobile-tiny", "AutoGLM-Mobile-Tiny"), ("my-own", "My-Own")]
)
def test_a_bundle_is_called_as_people_write_it(name: str, shown: str) -> None:
    assert display_name(name) == shown


async def test_callers_that_come_while_it_loads_get_the_same_generator(tmp_path: Path) -> None:
    bundle = write_llm_bundle(tmp_path).parent
    backbone = LazyBackbone(LLMSettings(model=bundle, kv_cache_bytes=4 << 20))
    assert backbone.generator is None
    first, second = await asyncio.gather(backbone.load(), backbone.load())
    assert first is second is backbone.generator
    await backbone.close()


async def test_the_phases_of_the_start_are_timed(tmp_path: Path) -> None:
    backbone = LazyBackbone(LLMSettings(model=write_llm_bundle(tmp_path).parent, kv_cache_bytes=4 << 20))
    await backbone.load()
    await backbone.close()
    for phase in ("validate", "read_weights", "start_engine"):
        seconds = REGISTRY.get_sample_value("autoglm_llm_start_seconds", {"phase": phase})
        assert seconds is not None
        assert 0 < seconds < 60, phase


async def test_a_published_folder_and_made_up_weights_are_opened(published: Callable[[str], Path]) -> None:
    phone = LazyBackbone(LLMSettings(model=published("Glm4vForConditionalGeneration")))
    dummy = LazyBackbone(LLMSettings(model=Path("dummy:9b")))
    for backbone in (phone, dummy):
        assert backbone.bundle.config.mrope_section
        assert not backbone.bundle.native
        assert backbone.generator is None


class Counted(LazyBackbone):
    """Counts how often its weights are read."""

    reads = 0

    def _read(self) -> Backbone:
        self.reads += 1
        return super()._read()


async def test_a_caller_who_gives_up_leaves_the_load_to_the_others(tmp_path: Path) -> None:
    backbone = Counted(LLMSettings(model=write_llm_bundle(tmp_path).parent, kv_cache_bytes=4 << 20))
    for _ in range(5):
        hasty = asyncio.create_task(backbone.load())
        await asyncio.sleep(0)
        hasty.cancel()
    assert await backbone.load() is backbone.generator
    assert backbone.reads == 1
    await backbone.close()


async def test_weights_that_went_away_are_told_as_such_and_found_when_they_are_back(tmp_path: Path) -> None:
    folder = write_llm_bundle(tmp_path)
    backbone = LazyBackbone(LLMSettings(model=folder.parent, kv_cache_bytes=4 << 20))
    away = (folder / "model.safetensors").rename(tmp_path / "away")
    with pytest.raises(Unavailable) as refused:
        await backbone.load()
    assert refused.value.reason == "MODEL_UNAVAILABLE"
    away.rename(folder / "model.safetensors")
    assert await backbone.load() is backbone.generator
    await backbone.close()
