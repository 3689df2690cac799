"""From the contract's events to OpenAI's objects, whole or in chunks; see docs/thinking.md."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

from google.protobuf.json_format import MessageToDict

from autoglm.llm.v1 import llm_pb2

OPEN_THINK, CLOSE_THINK = "<think>", "</think>"
EXTENSION = "autoglm"
_FINISH_REASONS = {llm_pb2.FINISH_REASON_STOP: "stop", llm_pb2.FINISH_REASON_LENGTH: "length"}


class Answer:
    """One answer as it grows; only names things, the llm service has decided what is what.

    splits_reasoning: thoughts go into fields of their own, else they stay in the content as the model wrote
    them, between <think> and </think>.
    """

    def __init__(self, model: str, request_id: str, *, splits_reasoning: bool):
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model, self._request_id = model, request_id
        self._splits = splits_reasoning
        self._thinking = False
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._finish: llm_pb2.Finish | None = None

    def push(self, event: llm_pb2.GenerateResponse) -> dict[str, str]:
        """Takes in one event; what it adds, as the `delta` of a chunk."""
        if event.WhichOneof("event") == "finish":
            self._finish = event.finish
            return {}
        text = event.delta.text
        if event.delta.channel == llm_pb2.CHANNEL_REASONING:
            if self._splits:
                self._reasoning.append(text)
                return {"reasoning_content": text, "reasoning": text}
            text = text if self._thinking else OPEN_THINK + text
            self._thinking = True
        elif self._thinking:
            text, self._thinking = CLOSE_THINK + text, False
        self._content.append(text)
        return {"content": text}

    @property
    def is_empty(self) -> bool:
        """Nothing has come yet."""
        return not (self._content or self._reasoning or self._finish)

    @property
    def usage(self) -> dict[str, Any]:
        """OpenAI's `usage`."""
        used = self._end.usage
        return {
            "prompt_tokens": used.prompt_tokens,
            "completion_tokens": used.completion_tokens,
            "total_tokens": used.prompt_tokens + used.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": used.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": used.reasoning_tokens},
        }

    @property
    def completion(self) -> dict[str, Any]:
        """The whole `chat.completion`."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._content)}
        if self._splits:
            reasoning = "".join(self._reasoning) or None
            message |= {"reasoning_content": reasoning, "reasoning": reasoning}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish_reason}
        return self._object("chat.completion", [choice]) | {"usage": self.usage, EXTENSION: self._extension}

    def chunk(self, delta: dict[str, Any]) -> dict[str, Any]:
        """One `chat.completion.chunk`."""
        return self._object("chat.completion.chunk", [self._choice(delta, None)])

    def last_chunks(self, *, include_usage: bool) -> Iterator[dict[str, Any]]:
        """The chunk with the reason and the extension; then, if wanted, the one with the usage."""
        choices = [self._choice({}, self._finish_reason)]
        yield self._object("chat.completion.chunk", choices) | {EXTENSION: self._extension}
        if include_usage:
            yield self._object("chat.completion.chunk", []) | {"usage": self.usage}

    @property
    def _end(self) -> llm_pb2.Finish:
        if self._finish is None:
            raise RuntimeError("the answer is not finished")
        return self._finish

    @property
    def _finish_reason(self) -> str:
        return _FINISH_REASONS[self._end.reason]

    @property
    def _extension(self) -> dict[str, Any]:
        end = _plain(self._end)
        return {
            "gate_weights": end["gate_weights"],
            "receipt": end.get("receipt", {}),
            "request_id": self._request_id,
        }

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }

    @staticmethod
    def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _plain(end: llm_pb2.Finish) -> dict[str, Any]:
    plain: dict[str, Any] = MessageToDict(
        end, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for medium in plain.get("receipt", {}).get("media", ()):
        for key in ("sent_bytes", "received_bytes"):  # JSON of protobuf writes 64-bit numbers as strings
            medium[key] = int(medium[key])
    return plain
