"""Published checkpoints through all processes: token for token what transformers answers in float32.

All questions are asked at once, so that every answer is also one among strangers.
"""

import asyncio
import io
import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from PIL import Image

from benchmarks.server import Server, serving
from tests.published import ARCHITECTURES, Architecture
from tests.system.official import Message, Official

pytestmark = pytest.mark.system

MAX_TOKENS = 64
TOLERANCE = 2e-3  # of a log-probability; wide weights give logits of about 10
ENVIRONMENT = {
    "AUTOGLM_LLM__DTYPE": "float32",
    "AUTOGLM_VISION__DTYPE": "float32",
    "AUTOGLM_LLM__KV_CACHE_BYTES": str(16 << 20),
    "AUTOGLM_LLM__MAX_BATCH_TOKENS": "64",  # prompts and pictures are cut
    "AUTOGLM_LLM__MAX_CONTEXT_TOKENS": "4400",  # a screenshot and not much of an answer
}
AGENT_MODEL = "autoglm-phone-9b"
SCREENSHOT_TOKENS = 3000
ENCODES = "autoglm_vision_encodes_total"
WORDS = (
    "please",
    "what",
    "the quick",
    "brown",
    "fox",
    "does",
    "你好",
    "今天天气",
    "do(action)",
    "[500,",
    "🍎",
    "é",
)
SIZES = [(112, 112), (37, 211), (301, 64), (150, 149), (56, 420), (90, 260)]


@dataclass(frozen=True)
class Served:
    """A running server and the reference over the same folder."""

    server: Server
    official: Official
    folder: Path

    @property
    def client(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.server.url}/v1", api_key="EMPTY", max_retries=0)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def served(request: pytest.FixtureRequest, published: Callable[[Architecture], Path]) -> Iterator[Served]:
    folder = published(request.param)
    with serving(folder, ENVIRONMENT) as server:
        yield Served(server, Official(folder), folder)
        print(server.log.read_text(errors="replace"))


def noise(seed: int, width: int, height: int) -> str:
    """A data URL of a picture that is like no other."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"


def shown(seed: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": noise(seed, *SIZES[seed % len(SIZES)])}}


def questions(*, pictures: bool) -> list[list[Message]]:
    """Two dozen conversations: short and long, one turn and several, with up to three pictures."""
    draw, asked = random.Random(7), []

    def words(count: int) -> str:
        return " ".join(draw.choices(WORDS, k=count))

    for index in range(24):
        messages: list[Message] = [{"role": "system", "content": words(12)}] if index % 3 == 0 else []
        for turn in range(index % 4):
            messages.append({"role": "user", "content": f"{words(3 + index)}\n"})
            messages.append({"role": "assistant", "content": f"<think>{words(turn + 1)}</think>{words(4)}"})
        content: str | list[Any] = words(1 + 3 * index)
        if pictures and index % 4:
            content = [*(shown(3 * index + place) for place in range(index % 4)), text(words(5))]
        elif index % 2:
            content = [text(f"  {words(4)}\n\n")]
        asked.append([*messages, {"role": "user", "content": content}])
    return asked


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


async def ask(client: AsyncOpenAI, messages: list[Message]) -> ChatCompletion:
    # Messages as a dictionary: typed ones would say no more.
    body: Any = {"messages": messages, "max_tokens": MAX_TOKENS, "logprobs": True, "top_logprobs": 2}
    answer: ChatCompletion = await client.chat.completions.create(model="", **body)
    return answer


async def test_every_token_is_the_one_of_transformers(served: Served) -> None:
    asked = questions(pictures=(served.folder / "preprocessor_config.json").is_file())
    async with served.client as client:
        answers = await asyncio.gather(*(ask(client, messages) for messages in asked))
    lengths = set()
    for messages, answer in zip(asked, answers, strict=True):
        expected = served.official.answer(messages, MAX_TOKENS)
        told = (answer.choices[0].logprobs and answer.choices[0].logprobs.content) or []
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == expected.prompt_tokens
        assert [one.token for one in told] == list(map(served.official.spelled, expected.token_ids))
        assert [one.logprob for one in told] == pytest.approx(expected.logprobs, abs=TOLERANCE)
        content = answer.choices[0].message.content or ""
        unfinished = expected.text.removeprefix(content)
        assert content + unfinished == expected.text
        assert set(unfinished) <= {"\ufffd"}, "only an unfinished character is kept back"
        lengths.add(len(told))
    assert len(lengths) > 1, "some answers end by themselves, or no end token was ever tried"


@pytest.mark.parametrize("served", ["Glm4vForConditionalGeneration"], indirect=True)
def test_a_phone_agent_works_unchanged(served: Served) -> None:
    """The requests of Open-AutoGLM: a check at start, then one screenshot per step, older ones dropped."""
    with OpenAI(base_url=f"{served.server.url}/v1", api_key="EMPTY", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == [served.folder.name]
        check = client.chat.completions.create(
            model=AGENT_MODEL,
            messages=[{"role": "user", "content": "Hi"}],
            max_tokens=5,
            temperature=0.0,
            stream=False,
        )
        assert check.choices[0].message.content
        messages: list[Any] = [
            {"role": "system", "content": "今天的日期是: 2025年12月10日\n" + "规则。" * 20}
        ]
        encodes = served.server.metric("vision", ENCODES)
        for step in range(2):
            url = screenshot(step)
            assert 1_000_000 < len(url) < 1_300_000
            words = f"打开微信\n\n** Screen Info **\n\n{{'current_app': 'Home', 'step': {step}}}"
            image = {"type": "image_url", "image_url": {"url": url}}
            messages.append({"role": "user", "content": [image, text(words)]})
            content, usage = streamed(client, messages)
            assert content
            assert usage.prompt_tokens > SCREENSHOT_TOKENS
            assert served.server.metric("vision", ENCODES) == encodes + step + 1
            messages[-1]["content"] = [text(words)]
            messages.append({"role": "assistant", "content": f"<think>{content}</think><answer>tap</answer>"})


def streamed(client: OpenAI, messages: list[Any]) -> tuple[str, CompletionUsage]:
    """One step of the agent: what it reads from the stream, and what it took."""
    content, usage = "", None
    for chunk in client.chat.completions.create(
        model=AGENT_MODEL,
        messages=messages,
        max_tokens=3000,
        temperature=0.0,
        top_p=0.85,
        frequency_penalty=0.2,
        stream=True,
        stream_options={"include_usage": True},
    ):
        usage = chunk.usage or usage
        if chunk.choices and chunk.choices[0].delta.content is not None:
            content += chunk.choices[0].delta.content
    assert usage is not None
    return content, usage


def screenshot(seed: int) -> str:
    """A data URL of 1.2 million characters: an RGBA PNG of 1080 x 2400 pixels."""
    blocks = np.random.default_rng(seed).integers(0, 256, (480, 360, 4), dtype=np.uint8)
    pixels = blocks.repeat(5, axis=0).repeat(3, axis=1)
    pixels[..., 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
