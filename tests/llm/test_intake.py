"""What of a conversation is taken in, and how much of it."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from servicekit.errors import InvalidArgument
from services.llm.backbone import LazyBackbone
from services.llm.engine.request import SamplingParams
from services.llm.intake import Intake
from services.llm.media.connect import connect
from services.llm.media.library import MediaContent
from services.llm.messages import Turn
from services.llm.model.fusion import Modality
from services.llm.prompt import Role, Text
from services.llm.settings import LLMSettings
from tests.bundles import write_llm_bundle

HELLO = [Turn(Role.USER, (Text("你好"),))]


@pytest.fixture
async def intake(tmp_path: Path) -> AsyncIterator[Intake]:
    settings = LLMSettings(model=write_llm_bundle(tmp_path).parent, vision_target="", max_context_tokens=40)
    backbone = LazyBackbone(settings)
    library = connect(settings, backbone.bundle)
    yield Intake(backbone, library, settings)
    await library.close()


async def test_a_conversation_without_media_waits_for_no_slot(intake: Intake) -> None:
    assert isinstance(intake.slot(HELLO), nullcontext)


async def test_an_answer_is_cut_to_what_the_conversation_leaves_of_the_context(intake: Intake) -> None:
    prompt = (await intake.prepare(HELLO, None)).prompt
    left = intake.max_context - len(prompt.token_ids)
    assert 0 < left < 40
    assert intake.fit(SamplingParams(max_tokens=1000), prompt).max_tokens == left
    assert intake.fit(SamplingParams(max_tokens=2), prompt).max_tokens == 2


async def test_a_conversation_that_leaves_nothing_is_refused(intake: Intake) -> None:
    long = await intake.prepare([Turn(Role.USER, (Text("你" * 39),))], None)
    with pytest.raises(InvalidArgument, match=r"takes \d+ of 40 tokens"):
        intake.fit(SamplingParams(), long.prompt)


async def test_a_conversation_that_is_surely_too_long_is_refused_before_its_tokens_are_counted(
    intake: Intake,
) -> None:
    seen = MediaContent(Modality.IMAGE, b"no picture", "messages[0].parts[0]")
    with pytest.raises(InvalidArgument, match=r"takes at least \d+ of 40 tokens") as refused:
        await intake.prepare([Turn(Role.USER, (seen, Text("你" * 3_000_000)))], None)
    assert refused.value.reason == "CONTEXT_TOO_LONG"
