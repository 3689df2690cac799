"""From the contract's events to OpenAI's objects, whole or in chunks; see docs/thinking.md."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict

from autoglm.llm.v1 import llm_pb2

EXTENSION = "autoglm"
LEAST_LOGPROB = -9999.0  # what OpenAI writes for the impossible: JSON knows no infinity
_FINISH_REASONS = {llm_pb2.FINISH_REASON_STOP: "stop", llm_pb2.FINISH_REASON_LENGTH: "length"}


@dataclass(frozen=True)
class Piece:
    """What one event adds to the answer: the `delta` of a chunk, and the log-probabilities of its tokens."""

    delta: dict[str, str]
    logprobs: list[dict[str, Any]]


class Answer:
    """One answer as it grows; only names things, the llm service has decided what is what.

    splits_reasoning: thoughts go into fields of their own, else they stay in the content as the model wrote
    them, its marks around them.
    """

    def __init__(self, model: str, request_id: str, *, splits_reasoning: bool):
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._model, self._request_id = model, request_id
        self._splits = splits_reasoning
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._finish: llm_pb2.Finish | None = None

    def push(self, event: llm_pb2.GenerateResponse) -> Piece | None:
        """Takes in one event; what it adds, if anything."""
        if event.WhichOneof("event") == "finish":
            self._finish = event.finish
            return None
        logprobs = [_told(token) for token in event.delta.logprobs]
        self._logprobs += logprobs
        text = event.delta.text if self._splits else event.delta.markup + event.delta.text
        if not (text or logprobs):
            return None
        if self._splits and event.delta.channel == llm_pb2.CHANNEL_REASONING:
            self._reasoning.append(text)
            return Piece({"reasoning_content": text, "reasoning": text}, logprobs)
        self._content.append(text)
        return Piece({"content": text}, logprobs)

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
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._content), "refusal": None}
        if self._splits:
            reasoning = "".join(self._reasoning) or None
            message |= {"reasoning_content": reasoning, "reasoning": reasoning}
        logprobs = _logprobs(self._logprobs)
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": self._finish_reason}
        return self._object("chat.completion", [choice]) | {"usage": self.usage, EXTENSION: self._extension}

    @property
    def first_chunk(self) -> dict[str, Any]:
        """The `chat.completion.chunk` that says who speaks."""
        return self.chunk(Piece({"role": "assistant", "content": ""}, []))

    def chunk(self, piece: Piece) -> dict[str, Any]:
        """One `chat.completion.chunk`."""
        return self._object("chat.completion.chunk", [self._choice(piece, None)])

    def last_chunks(self, *, include_usage: bool) -> Iterator[dict[str, Any]]:
        """The chunk with the reason and the extension; then, if wanted, the one with the usage."""
        choices = [self._choice(Piece({}, []), self._finish_reason)]
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
    def _choice(piece: Piece, finish_reason: str | None) -> dict[str, Any]:
        logprobs = _logprobs(piece.logprobs)
        return {"index": 0, "delta": piece.delta, "logprobs": logprobs, "finish_reason": finish_reason}


def _logprobs(tokens: list[dict[str, Any]]) -> dict[str, Any] | None:
    return {"content": tokens, "refusal": None} if tokens else None


def _told(token: llm_pb2.TokenLogprob) -> dict[str, Any]:
    return _candidate(token.token) | {"top_logprobs": [_candidate(other) for other in token.top]}


def _candidate(candidate: llm_pb2.LogprobCandidate) -> dict[str, Any]:
    """A token may be part of a character only: `bytes` say exactly which."""
    return {
        "token": candidate.token_bytes.decode(errors="replace"),
        "logprob": max(candidate.logprob, LEAST_LOGPROB),
        "bytes": list(candidate.token_bytes),
    }


def _plain(end: llm_pb2.Finish) -> dict[str, Any]:
    plain: dict[str, Any] = MessageToDict(
        end, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for medium in plain.get("receipt", {}).get("media", ()):
        for key in ("sent_bytes", "received_bytes"):  # JSON of protobuf writes 64-bit numbers as strings
            medium[key] = int(medium[key])
    return plain
