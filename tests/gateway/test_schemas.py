"""What a chat request may say: wrong values are refused by name, unknown keys are not read."""

import json
from typing import Any

import pytest

from gateway.errors import ApiError
from gateway.schemas import MAX_MESSAGES, MAX_PARTS, AudioPart, ImagePart, TextPart, parse_part, parse_request

MESSAGES = [{"role": "user", "content": "你好"}]


def body(**keys: Any) -> bytes:
    return json.dumps({"messages": MESSAGES} | keys).encode()


def refusal(raw: bytes) -> ApiError:
    with pytest.raises(ApiError) as refused:
        parse_request(raw)
    assert refused.value.status == 400
    return refused.value


WRONG = [
    ("model", 5),
    ("model", "x" * 257),
    ("messages", []),
    ("messages", "你好"),
    ("messages[0]", "你好", {"messages": ["你好"]}),
    ("messages[0].role", "tool", {"messages": [{"role": "tool", "content": "1"}]}),
    ("messages[0].role", "no role", {"messages": [{"content": "1"}]}),
    ("messages[1].content", "an object", {"messages": [*MESSAGES, {"role": "user", "content": {}}]}),
    ("messages", "too many", {"messages": MESSAGES * (MAX_MESSAGES + 1)}),
    ("messages[0].content", "too many", {"messages": [{"role": "user", "content": [{}] * (MAX_PARTS + 1)}]}),
    ("stream", "yes"),
    ("stream_options", True),
    ("stream_options.include_usage", "an integer", {"stream_options": {"include_usage": 1}}),
    ("max_tokens", 0),
    ("max_tokens", 2**31),
    ("max_tokens", 1.5),
    ("max_tokens", "16"),
    ("max_completion_tokens", -1),
    ("temperature", "hot"),
    ("temperature", True),
    ("top_p", []),
    ("top_k", -2),
    ("seed", 2**63),
    ("stop", 5),
    ("stop", ["a", 5]),
    ("frequency_penalty", "0"),
    ("presence_penalty", {}),
    ("repetition_penalty", "1"),
    ("n", 2),
    ("logprobs", 1),
    ("top_logprobs", 21, {"logprobs": True, "top_logprobs": 21}),
    ("top_logprobs", 3),
    ("logit_bias", {"5": 1}),
    ("response_format.type", "json", {"response_format": {"type": "json_object"}}),
    ("tools", [{"type": "function"}]),
    ("functions", [{}]),
    ("modalities[0]", "audio", {"modalities": ["audio"]}),
    ("enable_thinking", "true"),
    ("return_reasoning", 1),
    ("chat_template_kwargs", []),
    ("chat_template_kwargs.enable_thinking", "true", {"chat_template_kwargs": {"enable_thinking": "true"}}),
    ("cache_salt", 5),
    ("priority", 1001),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: f"{case[0]}: {case[1]!r:.20}")
def test_a_wrong_value_is_refused_by_its_path(case: tuple[Any, ...]) -> None:
    param, value, *whole = case
    error = refusal(body(**(whole[0] if whole else {param: value})))
    assert error.param == param
    assert error.code in ("invalid_value", "missing_required_parameter")


def test_what_is_not_offered_is_said_in_words() -> None:
    assert refusal(body(n=2)).message == "Only one answer is given."
    assert refusal(body(tools=[{}])).message == "Tools are not called."


def test_a_missing_conversation_is_named_as_missing() -> None:
    error = refusal(b'{"model": "autoglm"}')
    assert (error.param, error.code) == ("messages", "missing_required_parameter")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"messages": ' + b"[" * 100_000,
        rb'{"messages": [{"role": "user", "content": "\ud800"}]}',
        b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}',
        b'{"seed": 1' + b"0" * 5000 + b"}",
    ],
    ids=[
        "empty",
        "cut off",
        "not UTF-8",
        "bottomless",
        "half a surrogate pair",
        "surrogate bytes",
        "endless number",
    ],
)
def test_what_is_no_json_is_refused_as_such(raw: bytes) -> None:
    error = refusal(raw)
    assert (error.param, error.code) == (None, "invalid_json")


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"messages"'])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    assert refusal(raw).message == "Input should be an object."


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" + b"0" * 400])
def test_a_number_that_is_not_finite_is_refused_by_name(number: bytes) -> None:
    raw = b'{"temperature": ' + number + b', "messages": [{"role": "user", "content": "1"}]}'
    assert refusal(raw).param == "temperature"


def test_keys_that_do_no_harm_are_ignored() -> None:
    harmless = {"user": "me", "store": False, "metadata": {"a": [1]}, "parallel_tool_calls": True, "新": None}
    assert parse_request(body(**harmless)) == parse_request(body())


def test_null_is_as_good_as_absent() -> None:
    names = ["stream", "temperature", "max_tokens", "stop", "n", "tools", "cache_salt", "priority"]
    assert parse_request(body(**dict.fromkeys(names))) == parse_request(body())


def test_what_is_offered_but_empty_is_taken() -> None:
    request = parse_request(body(tools=[], n=1, logprobs=False, response_format={"type": "text"}))
    assert not request.stream


@pytest.mark.parametrize(
    ("keys", "thinks", "splits"),
    [
        ({}, None, False),
        ({"enable_thinking": True}, True, False),
        ({"enable_thinking": True, "return_reasoning": True}, True, True),
        ({"chat_template_kwargs": {"enable_thinking": True, "other": 1}}, True, False),
        ({"chat_template_kwargs": {"return_reasoning": True}}, None, True),
        ({"enable_thinking": False, "chat_template_kwargs": {"enable_thinking": True}}, False, False),
        ({"enable_thinking": None, "chat_template_kwargs": {"enable_thinking": True}}, True, False),
    ],
)
def test_the_switches_of_thinking_may_be_nested_and_the_outer_one_wins(
    keys: dict[str, Any], thinks: bool, splits: bool
) -> None:
    request = parse_request(body(**keys))
    assert (request.thinks, request.splits_reasoning) == (thinks, splits)


def test_parts_are_told_apart_by_their_type() -> None:
    raw = [
        {"type": "text", "text": "你好"},
        {"type": "image_url", "image_url": {"url": "data:,", "detail": "high"}, "cache_control": {}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
    ]
    assert [type(parse_part(part, "content")) for part in raw] == [TextPart, ImagePart, AudioPart]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ("你好", "content[2]"),
        ({}, "content[2].type"),
        ({"type": "video_url"}, "content[2].type"),
        ({"type": ["text"]}, "content[2].type"),
        ({"type": "text"}, "content[2].text"),
        ({"type": "text", "text": 5}, "content[2].text"),
        ({"type": "image_url", "image_url": "data:,"}, "content[2].image_url"),
        ({"type": "image_url", "image_url": {"url": None}}, "content[2].image_url.url"),
        ({"type": "input_audio", "input_audio": {"format": "wav"}}, "content[2].input_audio.data"),
    ],
)
def test_a_wrong_part_is_refused_by_its_path(part: Any, param: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_part(part, "content[2]")
    assert (refused.value.status, refused.value.param) == (400, param)
