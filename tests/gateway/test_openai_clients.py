"""The clients that people bring understand every kind of answer and every kind of error."""

import base64
from collections.abc import AsyncIterator

import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam
from pydantic import SecretStr

from servicekit.errors import (
    DeadlineExceeded,
    InvalidArgument,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from tests.gateway.conftest import Gateway
from tests.gateway.scripted_llm import CLOSED, MODEL, OPENED, PAUSE, ScriptedLLM, finish, said, thought

PICTURE = f"data:image/png;base64,{base64.b64encode(b'picture').decode()}"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "你好"}]
THINK = {"enable_thinking": True, "return_reasoning": True}


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    base_url = f"{gateway.server.url}/v1"
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key="EMPTY", http_client=http, max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def chain(gateway: Gateway) -> AsyncIterator[ChatOpenAI]:
    async with openai.DefaultAsyncHttpxClient(trust_env=False) as http:
        yield ChatOpenAI(
            model=MODEL,
            base_url=f"{gateway.server.url}/v1",
            api_key=SecretStr("EMPTY"),
            http_async_client=http,
            max_retries=0,
            streaming=True,
            extra_body=THINK,
        )


async def test_openai_reads_an_answer_and_the_extension(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content == "红苹果"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 4
    extension = (answer.model_extra or {})["autoglm"]
    assert extension["gate_weights"][0]["image"] == 0.75


async def test_openai_reads_a_stream_to_its_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(text) == "红苹果"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 12


async def test_openai_keeps_thoughts_apart_from_the_answer(
    llm: ScriptedLLM, client: openai.AsyncOpenAI
) -> None:
    llm.will(OPENED, thought("想想"), CLOSED, said("好"), finish())
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True, extra_body=THINK)
    deltas = [choice.delta async for chunk in stream for choice in chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "好"
    assert "".join((delta.model_extra or {}).get("reasoning_content", "") for delta in deltas) == "想想"
    assert llm.requests[0].enable_thinking


async def test_openai_shows_thoughts_as_fields_of_the_message(
    llm: ScriptedLLM, client: openai.AsyncOpenAI
) -> None:
    llm.will(OPENED, thought("想想"), CLOSED, said("好"), finish())
    answer = await client.chat.completions.create(model=MODEL, messages=HELLO, extra_body=THINK)
    message = answer.choices[0].message
    assert message.content == "好"
    assert message.model_extra == {"reasoning_content": "想想", "reasoning": "想想"}


async def test_openai_sends_pictures_and_text_in_order(llm: ScriptedLLM, client: openai.AsyncOpenAI) -> None:
    await client.chat.completions.create(
        model=MODEL,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": PICTURE}},
                    {"type": "text", "text": "这是什么？"},
                ],
            }
        ],
    )
    parts = llm.requests[0].messages[0].parts
    assert (parts[0].image.data, parts[1].text) == (b"picture", "这是什么？")


@pytest.mark.parametrize(
    ("error", "raised", "code"),
    [
        (InvalidArgument("IMAGE_TRUNCATED", "Cut."), openai.BadRequestError, "IMAGE_TRUNCATED"),
        (ResourceExhausted("QUEUE_FULL", "Full."), openai.RateLimitError, "QUEUE_FULL"),
        (Unavailable("VISION_UNAVAILABLE", "Gone."), openai.InternalServerError, "VISION_UNAVAILABLE"),
        (DeadlineExceeded("DEADLINE_EXCEEDED", "Late."), openai.InternalServerError, "DEADLINE_EXCEEDED"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("stream", [False, True])
async def test_openai_raises_the_exception_of_the_status(
    llm: ScriptedLLM,
    client: openai.AsyncOpenAI,
    error: ServiceError,
    raised: type[openai.APIStatusError],
    code: str,
    stream: bool,
) -> None:
    llm.will(error)
    with pytest.raises(raised) as caught:
        await client.chat.completions.create(model=MODEL, messages=HELLO, stream=stream)
    assert caught.value.code == code
    assert caught.value.request_id


async def test_openai_names_the_parameter_at_fault(client: openai.AsyncOpenAI) -> None:
    remote: list[ChatCompletionContentPartParam] = [
        {"type": "text", "text": "看"},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
    ]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": remote}])
    assert caught.value.param == "messages[0].content[1].image_url.url"


async def test_openai_does_not_find_another_model(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="gpt-none", messages=HELLO)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-none")


async def test_openai_lists_and_describes_the_model(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [MODEL]
    assert (await client.models.retrieve(MODEL)).owned_by == "autoglm"


async def test_openai_comes_back_by_itself_when_it_is_told_to(
    llm: ScriptedLLM, client: openai.AsyncOpenAI
) -> None:
    llm.will(ResourceExhausted("QUEUE_FULL", "Full.", retry_after_s=0.1))
    patient = client.with_options(max_retries=1)
    answer = await patient.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content == "红苹果"
    assert len(llm.requests) == 2


async def test_openai_raises_when_a_stream_breaks_off(llm: ScriptedLLM, client: openai.AsyncOpenAI) -> None:
    llm.will(said("红"), Unavailable("SHUTTING_DOWN", "The service is going away."))
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    chunks = aiter(stream)
    heard = [(await anext(chunks)).choices[0].delta.content for _ in ("role", "text")]
    with pytest.raises(openai.APIError) as caught:
        await anext(chunks)
    assert heard == ["", "红"]
    assert caught.value.code == "SHUTTING_DOWN"


async def test_openai_closing_a_stream_cancels_the_call(llm: ScriptedLLM, client: openai.AsyncOpenAI) -> None:
    llm.will(said("红"), PAUSE)
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    await anext(aiter(stream))
    await llm.waiting.wait()
    await stream.close()
    await llm.cancelled.wait()


async def test_langchain_streams_an_answer(llm: ScriptedLLM, chain: ChatOpenAI) -> None:
    llm.will(OPENED, thought("想想"), CLOSED, said("红"), said("苹果"), finish())
    pieces = [piece.text async for piece in chain.astream("你好")]
    assert [piece for piece in pieces if piece] == ["红", "苹果"]
    assert llm.requests[0].enable_thinking


async def test_langchain_reads_thoughts_inside_the_content(llm: ScriptedLLM, chain: ChatOpenAI) -> None:
    llm.will(OPENED, thought("想想"), CLOSED, said("好"), finish())
    answer = await chain.ainvoke("你好", extra_body={"enable_thinking": True})
    assert answer.text == "<think>想想</think>好"


@pytest.mark.parametrize("streaming", [False, True])
async def test_langchain_drops_thoughts_that_are_split_off(
    streaming: bool, llm: ScriptedLLM, chain: ChatOpenAI
) -> None:
    llm.will(OPENED, thought("想想"), CLOSED, said("好"), finish())
    answer = await chain.model_copy(update={"streaming": streaming}).ainvoke("你好")
    assert answer.text == "好"
    assert "想想" not in repr(answer)  # once this fails, docs/thinking.md can be kinder


async def test_langchain_tells_the_usage_when_asked(chain: ChatOpenAI) -> None:
    answer = await chain.ainvoke("你好", stream_usage=True)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] == 12
    assert answer.usage_metadata["output_token_details"]["reasoning"] == 2


async def test_langchain_sends_pictures(llm: ScriptedLLM, chain: ChatOpenAI) -> None:
    picture = {"type": "image_url", "image_url": {"url": PICTURE}}
    await chain.ainvoke([HumanMessage([picture, {"type": "text", "text": "这是什么？"}])])
    parts = llm.requests[0].messages[0].parts
    assert (parts[0].image.data, parts[1].text) == (b"picture", "这是什么？")


async def test_langchain_raises_the_exception_of_the_status(llm: ScriptedLLM, chain: ChatOpenAI) -> None:
    llm.will(ResourceExhausted("QUEUE_FULL", "Full."))
    with pytest.raises(openai.RateLimitError) as caught:
        await chain.ainvoke("你好")
    assert caught.value.code == "QUEUE_FULL"
