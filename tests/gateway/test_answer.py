"""The truth table of docs/thinking.md, and the objects OpenAI's clients expect."""

from typing import Any

import pytest

from autoglm.llm.v1 import llm_pb2
from gateway.answer import Answer
from tests.gateway.scripted_llm import finish, said, thought

SPOKEN = [said("红"), said("苹果")]
THOUGHT_OUT = [thought("看颜"), thought("色"), *SPOKEN]


def answer_to(events: list[llm_pb2.GenerateResponse], *, splits: bool) -> tuple[Answer, list[dict[str, str]]]:
    answer = Answer("tiny", "request-1", splits_reasoning=splits)
    return answer, [answer.push(event) for event in events]


def content(text: str) -> dict[str, str]:
    return {"content": text}


def reasoning(text: str) -> dict[str, str]:
    return {"reasoning_content": text, "reasoning": text}


TRUTH_TABLE = {
    "no thinking": (
        SPOKEN,
        False,
        {"content": "红苹果"},
        [content("红"), content("苹果")],
    ),
    "no thinking, split": (
        SPOKEN,
        True,
        {"content": "红苹果", "reasoning_content": None, "reasoning": None},
        [content("红"), content("苹果")],
    ),
    "thinking": (
        THOUGHT_OUT,
        False,
        {"content": "<think>看颜色</think>红苹果"},
        [content("<think>看颜"), content("色"), content("</think>红"), content("苹果")],
    ),
    "thinking, split": (
        THOUGHT_OUT,
        True,
        {"content": "红苹果", "reasoning_content": "看颜色", "reasoning": "看颜色"},
        [reasoning("看颜"), reasoning("色"), content("红"), content("苹果")],
    ),
    "cut off while thinking": (
        [thought("看颜")],
        False,
        {"content": "<think>看颜"},
        [content("<think>看颜")],
    ),
    "cut off while thinking, split": (
        [thought("看颜")],
        True,
        {"content": "", "reasoning_content": "看颜", "reasoning": "看颜"},
        [reasoning("看颜")],
    ),
}


@pytest.mark.parametrize(("events", "splits", "message", "deltas"), TRUTH_TABLE.values(), ids=TRUTH_TABLE)
def test_thoughts_go_where_the_truth_table_says(
    events: list[llm_pb2.GenerateResponse],
    splits: bool,
    message: dict[str, str | None],
    deltas: list[dict[str, str]],
) -> None:
    answer, pushed = answer_to([*events, finish()], splits=splits)
    assert answer.completion["choices"][0]["message"] == {"role": "assistant"} | message
    assert pushed == [*deltas, {}]


def test_a_completion_is_one_object_with_its_usage() -> None:
    answer, _ = answer_to([*SPOKEN, finish()], splits=False)
    completion = answer.completion
    assert completion["object"] == "chat.completion"
    assert completion["id"] == answer.id
    assert completion["id"].startswith("chatcmpl-")
    assert completion["model"] == "tiny"
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert completion["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


def test_the_extension_holds_gate_weights_receipt_and_request_id() -> None:
    answer, _ = answer_to([finish()], splits=False)
    extension = answer.completion["autoglm"]
    assert extension["gate_weights"] == [{"message_index": 0, "text": 0.25, "image": 0.75, "audio": 0.0}]
    assert extension["request_id"] == "request-1"
    assert extension["receipt"]["steps"] == 5
    (medium,) = extension["receipt"]["media"]
    assert (medium["modality"], medium["source"]) == ("MODALITY_IMAGE", "MEDIA_SOURCE_ENCODED")
    assert (medium["sent_bytes"], medium["received_bytes"]) == (99, 0)  # numbers, not strings


def test_every_chunk_is_one_of_the_same_answer() -> None:
    answer, _ = answer_to([finish()], splits=False)
    chunks = [answer.chunk(content("红")), *answer.last_chunks(include_usage=True)]
    assert {(chunk["id"], chunk["object"], chunk["model"]) for chunk in chunks} == {
        (answer.id, "chat.completion.chunk", "tiny")
    }
    assert len({chunk["created"] for chunk in chunks}) == 1


def test_the_usage_comes_in_a_chunk_of_its_own_and_only_if_wanted() -> None:
    answer, _ = answer_to([finish()], splits=False)
    (end,) = answer.last_chunks(include_usage=False)
    assert end["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert end["autoglm"] == answer.completion["autoglm"]
    assert "usage" not in end
    same_end, usage = answer.last_chunks(include_usage=True)
    assert same_end == end
    assert (usage["choices"], usage["usage"]) == ([], answer.usage)


@pytest.mark.parametrize(
    ("reason", "said_as"), [(llm_pb2.FINISH_REASON_STOP, "stop"), (llm_pb2.FINISH_REASON_LENGTH, "length")]
)
def test_the_reason_is_said_as_openai_says_it(reason: Any, said_as: str) -> None:
    answer, _ = answer_to([finish(reason)], splits=False)
    assert answer.completion["choices"][0]["finish_reason"] == said_as


def test_an_answer_without_an_end_is_none() -> None:
    answer, _ = answer_to(SPOKEN, splits=False)
    with pytest.raises(RuntimeError, match="not finished"):
        _ = answer.completion
