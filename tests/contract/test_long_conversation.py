"""Ten turns about one picture: most of a prompt is already computed, and answers do not depend on it."""

from pathlib import Path

import pytest

from autoglm.llm.v1 import llm_pb2
from cli.bundle import DEFAULT_MODEL
from tests.contract.llm_client import LLM, StartLLM, assistant, image, start_vision, text, user
from tests.pictures import file_of, photo
from tests.published import save_checkpoint

QUESTIONS = [
    "What is this?",
    "What colour is it?",
    "Is there anything behind it?",
    "How many things do you see?",
    "Where is the largest one?",
    "Who may have put it there?",
    "这是什么？",
    "Is it day or night?",
    "What is written on it?",
    "Describe it once more, please.",
]
WORTH = 0.6
"""Part of all prompt tokens that the cache is to save."""


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("glm4v")
    save_checkpoint(folder, "Glm4vForConditionalGeneration")
    return folder


@pytest.fixture(params=["bundled", "published"])
def model(request: pytest.FixtureRequest) -> Path:
    if request.param == "published":
        return Path(request.getfixturevalue("published"))
    return DEFAULT_MODEL


async def converse(llm: LLM) -> tuple[list[str], list[llm_pb2.Usage]]:
    """Answers of all turns, each asked with everything said before."""
    picture = image(file_of(photo(224, 196)))
    history: list[llm_pb2.ChatMessage] = []
    answers, usages = [], []
    for number, question in enumerate(QUESTIONS):
        history.append(user(*([picture] if not number else []), text(question)))
        answer = await llm.converse(history, sampling={"max_tokens": 24, "temperature": 0.0})
        answers.append(answer.text())
        usages.append(answer.finish.usage)
        history.append(assistant(answer.text() or "..."))
    return answers, usages


async def test_ten_turns_about_a_picture_compute_little_again_and_say_the_same(
    start_llm: StartLLM, model: Path
) -> None:
    said, saved = {}, {}
    async with start_vision(model) as vision:
        for cache in (True, False):
            target = f"127.0.0.1:{vision.port}"
            async with start_llm(
                model=model, vision_target=target, prefix_cache=cache, kv_cache_bytes=64 << 20
            ) as llm:
                said[cache], usages = await converse(llm)
            saved[cache] = sum(u.cached_tokens for u in usages) / sum(u.prompt_tokens for u in usages)
    print(f"{saved[True]:.0%} of prefill tokens saved")
    assert said[True] == said[False]
    assert any(said[True])
    assert saved[True] >= WORTH
    assert saved[False] == 0
