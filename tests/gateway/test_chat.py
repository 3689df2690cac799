"""From OpenAI's request to the contract's, and an error's field back."""

import base64
import io
from typing import Any

import pytest
from PIL import Image

from autoglm.llm.v1 import llm_pb2
from gateway.chat import param_of, to_generate_request
from gateway.errors import ApiError
from gateway.schemas import ChatRequest
from gateway.settings import GatewaySettings
from tests.pictures import file_of, photo

SETTINGS = GatewaySettings()


def picture(data: bytes) -> dict[str, Any]:
    return {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{base64.b64encode(data).decode()}"},
    }


def clip(data: bytes) -> dict[str, Any]:
    return {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(data).decode(), "format": "wav"},
    }


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def asked(*contents: Any, **keys: Any) -> ChatRequest:
    messages = [{"role": "user", "content": content} for content in contents]
    return ChatRequest.model_validate({"messages": messages} | keys)


def content_of(message: llm_pb2.ChatMessage) -> list[str | bytes]:
    known: dict[str, Any] = {
        "text": lambda p: p.text,
        "image": lambda p: p.image.data,
        "audio": lambda p: p.audio.data,
    }
    return [known[part.WhichOneof("content") or ""](part) for part in message.parts]


def test_a_string_is_a_part_of_its_own() -> None:
    (message,) = to_generate_request(asked("你好"), SETTINGS).messages
    assert content_of(message) == ["你好"]


def test_parts_of_any_kind_keep_their_order() -> None:
    parts = [picture(b"one"), text("和"), picture(b"two"), clip(b"three"), text("？")]
    (message,) = to_generate_request(asked(parts), SETTINGS).messages
    assert content_of(message) == [b"one", "和", b"two", b"three", "？"]


def test_messages_keep_their_order_and_roles() -> None:
    roles = ["developer", "system", "user", "assistant", "user"]
    messages = [{"role": role, "content": str(turn)} for turn, role in enumerate(roles)]
    request = to_generate_request(ChatRequest.model_validate({"messages": messages}), SETTINGS)
    system, user, assistant = llm_pb2.ROLE_SYSTEM, llm_pb2.ROLE_USER, llm_pb2.ROLE_ASSISTANT
    assert [message.role for message in request.messages] == [system, system, user, assistant, user]
    assert [content_of(message) for message in request.messages] == [["0"], ["1"], ["2"], ["3"], ["4"]]


@pytest.mark.parametrize("content", [None, []])
def test_a_turn_without_content_has_no_parts(content: Any) -> None:
    (message,) = to_generate_request(asked(content), SETTINGS).messages
    assert content_of(message) == []


def test_what_is_not_set_is_left_to_the_service() -> None:
    assert not to_generate_request(asked("你好"), SETTINGS).sampling.ListFields()


def test_every_sampling_parameter_arrives() -> None:
    given = {
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 3,
        "seed": -(2**63),
        "max_tokens": 16,
        "stop": ["。", "！"],
        "repetition_penalty": 1.5,
        "frequency_penalty": -0.5,
        "presence_penalty": 0.0,
    }
    sampling = to_generate_request(asked("你好", **given), SETTINGS).sampling
    assert {field.name: value for field, value in sampling.ListFields()} == given


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"stop": "。"}, "stop", ["。"]),
        ({"top_k": -1}, "top_k", 0),
        ({"max_completion_tokens": 5}, "max_tokens", 5),
        ({"max_completion_tokens": 5, "max_tokens": 9}, "max_tokens", 5),
    ],
)
def test_other_spellings_mean_the_same(given: dict[str, Any], name: str, value: Any) -> None:
    sampling = to_generate_request(asked("你好", **given), SETTINGS).sampling
    assert {field.name: value for field, value in sampling.ListFields()} == {name: value}


def test_thinking_salt_and_priority_arrive() -> None:
    keys = {"enable_thinking": True, "cache_salt": "mine", "priority": -3}
    request = to_generate_request(asked("你好", **keys), SETTINGS)
    assert (request.enable_thinking, request.cache_salt, request.priority) == (True, "mine", -3)


def test_too_many_media_are_refused_before_any_is_decoded() -> None:
    parts = [
        picture(b"one"),
        picture(b"two"),
        clip(b"three"),
        {**picture(b""), "image_url": {"url": "broken"}},
    ]
    with pytest.raises(ApiError, match="4 pictures and clips; 3 are taken") as refused:
        to_generate_request(asked(parts), GatewaySettings(max_media_parts=3))
    assert (refused.value.status, refused.value.code) == (400, "too_many_media")


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, "image_url.url"),
        ({"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}}, "input_audio.data"),
        ({"type": "text"}, "text"),
    ],
)
def test_a_refused_part_is_named_by_its_path(part: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        to_generate_request(asked("你好", [text("看"), part]), SETTINGS)
    assert refused.value.param == f"messages[1].content[1].{param}"


def test_pictures_arrive_byte_for_byte_unless_compression_is_wanted() -> None:
    sent = file_of(photo(1024, 768))
    as_sent = to_generate_request(asked([picture(sent)]), SETTINGS)
    assert content_of(as_sent.messages[0]) == [sent]
    compressed = to_generate_request(asked([picture(sent)]), GatewaySettings(compress_images=True))
    (arrived,) = content_of(compressed.messages[0])
    assert isinstance(arrived, bytes)
    assert Image.open(io.BytesIO(arrived)).size == (512, 384)


@pytest.mark.parametrize(
    ("field", "param"),
    [
        (None, None),
        ("messages", "messages"),
        ("messages[1].role", "messages[1].role"),
        ("messages[0].parts", "messages[0].content"),
        ("messages[0].parts[0]", "messages[0].content"),
        ("messages[1].parts", "messages[1].content"),
        ("messages[1].parts[0]", "messages[1].content[0]"),
        ("messages[1].parts[1]", "messages[1].content[1].image_url.url"),
        ("messages[1].parts[2].audio", "messages[1].content[2].input_audio.data"),
        ("sampling.temperature", "temperature"),
        ("sampling.max_tokens", "max_tokens"),
    ],
)
def test_a_field_of_the_contract_is_said_in_the_words_of_the_request(
    field: str | None, param: str | None
) -> None:
    assert param_of(field, asked("你好", [text("看"), picture(b"1"), clip(b"2")])) == param


def test_the_limit_is_named_as_the_client_named_it() -> None:
    assert param_of("sampling.max_tokens", asked("你好", max_completion_tokens=5)) == "max_completion_tokens"


@pytest.mark.parametrize(
    ("keys", "enabled", "disabled"),
    [({}, False, False), ({"enable_thinking": True}, True, False), ({"enable_thinking": False}, False, True)],
)
def test_thinking_is_left_to_the_model_unless_it_is_asked_for_or_forbidden(
    keys: dict[str, Any], enabled: bool, disabled: bool
) -> None:
    request = to_generate_request(asked("你好", **keys), SETTINGS)
    assert (request.enable_thinking, request.disable_thinking) == (enabled, disabled)


@pytest.mark.parametrize(
    ("keys", "told"), [({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 4}, 4), ({}, None)]
)
def test_log_probabilities_are_asked_for_by_the_number_of_alternatives(
    keys: dict[str, Any], told: int | None
) -> None:
    sampling = to_generate_request(asked("你好", **keys), SETTINGS).sampling
    assert (sampling.top_logprobs if sampling.HasField("top_logprobs") else None) == told
