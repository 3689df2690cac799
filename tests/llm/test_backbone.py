"""The backbone is loaded once, and says which it is."""

import asyncio
from pathlib import Path

import pytest

from services.llm.backbone import LazyBackbone, display_name
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
