"""The truth table of docs/thinking.md, and the objects OpenAI's clients expect."""

from typing import Any

import pytest

from autoglm.llm.v1 import llm_pb2
from gateway.answer import Answer, Piece
from tests.gateway.scripted_llm import CLOSED, OPENED, finish, said, thought

SPOKEN = [said("红"), said("苹果")]
THOUGHT_OUT = [OPENED, thought("看颜"), thought("色"), CLOSED, *SPOKEN]


def answer_to(events: list[llm_pb2.GenerateResponse], *, splits: bool) -> tuple[Answer, list[dict[str, str]]]:
    answer = Answer("tiny", "request-1", splits_reasoning=splits)
    pieces = [answer.push(event) for event in events]
    return answer, [piece.delta for piece in pieces if piece]


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
        [content(text) for text in ("<think>", "看颜", "色", "</think>", "红", "苹果")],
    ),
    "thinking, split": (
        THOUGHT_OUT,
        True,
        {"content": "红苹果", "reasoning_content": "看颜色", "reasoning": "看颜色"},
        [reasoning("看颜"), reasoning("色"), content("红"), content("苹果")],
    ),
    "thinking twice, the first time about nothing": (
        [OPENED, CLOSED, said("红"), OPENED, thought("色"), CLOSED],
        False,
        {"content": "<think></think>红<think>色</think>"},
        [content(text) for text in ("<think>", "</think>", "红", "<think>", "色", "</think>")],
    ),
    "cut off while thinking": (
        [OPENED, thought("看颜")],
        False,
        {"content": "<think>看颜"},
        [content("<think>"), content("看颜")],
    ),
    "cut off while thinking, split": (
        [OPENED, thought("看颜")],
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
    assert answer.completion["choices"][0]["message"] == {"role": "assistant", "refusal": None} | message
    assert pushed == deltas


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
    chunks = [answer.chunk(Piece(content("红"), [])), *answer.last_chunks(include_usage=True)]
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


def test_log_probabilities_come_with_their_tokens_and_all_together_at_the_end() -> None:
    def candidate(token_bytes: bytes, logprob: float) -> llm_pb2.LogprobCandidate:
        return llm_pb2.LogprobCandidate(token_id=1, logprob=logprob, token_bytes=token_bytes)

    half = llm_pb2.TokenLogprob(token=candidate(b"\xe7\xba", -0.5), top=[candidate(b"a", float("-inf"))])
    rest = llm_pb2.TokenLogprob(token=candidate(b"\xa2", -0.25))
    answer = Answer("tiny", "request-1", splits_reasoning=False)
    piece = answer.push(said("红", token_ids=[1, 2], logprobs=[half, rest]))
    answer.push(finish())
    assert piece is not None
    told = [
        {
            "token": "\ufffd",
            "logprob": -0.5,
            "bytes": [0xE7, 0xBA],
            "top_logprobs": [{"token": "a", "logprob": -9999.0, "bytes": [97]}],
        },
        {"token": "\ufffd", "logprob": -0.25, "bytes": [0xA2], "top_logprobs": []},
    ]
    for choice in (answer.chunk(piece)["choices"][0], answer.completion["choices"][0]):
        assert choice["logprobs"] == {"content": told, "refusal": None}
