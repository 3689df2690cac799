"""One answer to the conversation, as the events of a response."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Literal

import structlog

from autoglm.llm.v1 import llm_pb2
from gateway.answer import EXTENSION, Answer
from gateway.clients import LLMClient
from gateway.errors import ApiError, from_service, unforeseen
from gateway.metrics import FIRST_TOKEN_SECONDS, STREAMS
from gateway.realtime.conversation import Conversation, Image, Item, Part, Speech, Text
from gateway.realtime.outbox import Outbox, new_id
from gateway.realtime.schemas import ResponseParams, SessionConfig
from servicekit.errors import ServiceError
from servicekit.telemetry import request_id

Reason = Literal["turn_detected", "client_cancelled"]
PLACE = {"output_index": 0, "content_index": 0}
_ROLES = {"user": llm_pb2.ROLE_USER, "assistant": llm_pb2.ROLE_ASSISTANT, "system": llm_pb2.ROLE_SYSTEM}

log = structlog.get_logger("realtime")


class Response:
    """Runs as a task of its own; ends with exactly one `response.done`, whatever happens."""

    def __init__(
        self,
        llm: LLMClient,
        outbox: Outbox,
        conversation: Conversation,
        config: SessionConfig,
        params: ResponseParams,
        conversation_id: str,
    ):
        self.id = new_id("resp")
        self._llm, self._outbox, self._conversation = llm, outbox, conversation
        self._config, self._params = config, params
        self._conversation_id = conversation_id if params.conversation == "auto" else None
        self._item = Item(new_id("item"), "assistant", [], "in_progress")
        self._text = ""
        self._begun = False
        self._places: dict[str, str] = {}
        self._why: Reason = "client_cancelled"
        self._task = asyncio.create_task(self._run())

    @property
    def is_active(self) -> bool:
        """Whether `response.done` is still to come."""
        return not self._task.done()

    async def cancel(self, reason: Reason) -> None:
        """Ends it now; returns when the client has been told."""
        self._why = reason
        await asyncio.sleep(0)  # a task that is cancelled before its first step would say nothing
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        self._outbox.emit("response.created", response=self._shown("in_progress"))
        answer = Answer("", request_id.get(), splits_reasoning=True)
        try:
            with STREAMS.track_inprogress():
                await self._answer(answer)
            self._done_with(answer.completion)
        except asyncio.CancelledError:
            self._done("cancelled", {"type": "cancelled", "reason": self._why})
            raise
        except ApiError as error:
            self._fail(error)
        except Exception:
            log.exception("a response failed unforeseen")
            self._fail(unforeseen())

    async def _answer(self, answer: Answer) -> None:
        started, is_first = time.monotonic(), True
        while True:
            try:
                async with aclosing(self._events()) as events:
                    async for event in events:
                        if is_first:
                            FIRST_TOKEN_SECONDS.observe(time.monotonic() - started)
                        is_first = False
                        if piece := answer.push(event):
                            self._say(piece.delta.get("content", ""))
                return
            except ServiceError as error:
                gone = self._conversation.forget_oldest_turn() if error.reason == "CONTEXT_TOO_LONG" else []
                if not gone:
                    raise self._named(error) from error
                for item_id in gone:
                    self._outbox.emit("conversation.item.deleted", item_id=item_id)

    async def _events(self) -> AsyncGenerator[llm_pb2.GenerateResponse, None]:
        for item in self._conversation:
            for part in item.parts:
                if isinstance(part, Speech):
                    await part.heard.wait()
        instructions = self._params.instructions
        messages, self._places = _messages(
            self._config.instructions if instructions is None else instructions, list(self._conversation)
        )
        request = llm_pb2.GenerateRequest(messages=messages)
        limit = self._params.max_output_tokens or self._config.max_output_tokens
        if limit != "inf":
            request.sampling.max_tokens = limit
        async with aclosing(self._llm.generate(request)) as events:
            async for event in events:
                yield event

    def _named(self, error: ServiceError) -> ApiError:
        """The error, told of the item that is at fault, so that the client can delete it."""
        refusal = from_service(error, None)
        if place := self._places.get(error.field or ""):
            refusal.message += f" It is {place}."
        return refusal

    def _say(self, text: str) -> None:
        if text and not self._begun:
            self._begin()
        if text:
            self._text += text
            self._emit("output_text.delta", item_id=self._item.id, **PLACE, delta=text)

    def _begin(self) -> None:
        self._begun = True
        self._emit("output_item.added", output_index=0, item=self._item.shown)
        if self._conversation_id:
            previous = self._conversation.add(self._item)
            self._outbox.emit("conversation.item.added", item=self._item.shown, previous_item_id=previous)
        self._emit("content_part.added", item_id=self._item.id, **PLACE, part={"type": "text", "text": ""})

    def _done_with(self, completion: dict[str, Any]) -> None:
        if not self._begun:
            self._begin()
        usage = completion["usage"]
        shown = {
            "input_tokens": usage["prompt_tokens"],
            "output_tokens": usage["completion_tokens"],
            "total_tokens": usage["total_tokens"],
            "input_token_details": usage["prompt_tokens_details"],
        }
        extra = {"usage": shown, EXTENSION: completion[EXTENSION]}
        if completion["choices"][0]["finish_reason"] == "length":
            self._done("incomplete", {"type": "incomplete", "reason": "max_output_tokens"}, **extra)
        else:
            self._done("completed", None, **extra)

    def _fail(self, error: ApiError) -> None:
        log.warning("a response failed", code=error.code)
        said = error.body["error"]
        what = {"type": said["type"], "code": error.code, "message": error.message}
        self._done("failed", {"type": "failed", "error": what})

    def _done(self, status: str, details: dict[str, Any] | None, **extra: Any) -> None:
        if self._begun:
            self._item.parts.append(Text(self._text))
            self._item.status = "completed" if status == "completed" else "incomplete"
            item_id = self._item.id
            self._emit("output_text.done", item_id=item_id, **PLACE, text=self._text)
            part = {"type": "text", "text": self._text}
            self._emit("content_part.done", item_id=item_id, **PLACE, part=part)
            self._emit("output_item.done", output_index=0, item=self._item.shown)
            if self._conversation_id:
                self._outbox.emit("conversation.item.done", item=self._item.shown)
        self._outbox.emit("response.done", response=self._shown(status, details) | extra)

    def _emit(self, kind: str, **fields: Any) -> None:
        self._outbox.emit(f"response.{kind}", response_id=self.id, **fields)

    def _shown(self, status: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": [self._item.shown] if self._begun and status != "in_progress" else [],
            "conversation_id": self._conversation_id,
            "output_modalities": ["text"],
            "max_output_tokens": self._params.max_output_tokens or self._config.max_output_tokens,
            "metadata": self._params.metadata,
            "usage": None,
        }


def _messages(instructions: str, items: Sequence[Item]) -> tuple[list[llm_pb2.ChatMessage], dict[str, str]]:
    """Neighbours of one role become one message, so that a picture and the question about it meet.

    With it, what each field of the contract is to the client.
    """
    messages: list[llm_pb2.ChatMessage] = []
    places: dict[str, str] = {}
    if instructions:
        parts = [llm_pb2.ContentPart(text=instructions)]
        messages.append(llm_pb2.ChatMessage(role=llm_pb2.ROLE_SYSTEM, parts=parts))
    for item in items:
        for index, part in enumerate(item.parts):
            if isinstance(part, Speech) and not part.clip:
                continue
            if not messages or messages[-1].role != _ROLES[item.role]:
                messages.append(llm_pb2.ChatMessage(role=_ROLES[item.role]))
            place = f"content[{index}] of the item {item.id}"
            places[f"messages[{len(messages) - 1}].parts[{len(messages[-1].parts)}]"] = place
            messages[-1].parts.append(_content(part))
    return messages, places


def _content(part: Part) -> llm_pb2.ContentPart:
    if isinstance(part, Text):
        return llm_pb2.ContentPart(text=part.text)
    if isinstance(part, Image):
        return llm_pb2.ContentPart(image=llm_pb2.ImagePart(data=part.data))
    return llm_pb2.ContentPart(audio=llm_pb2.AudioPart(data=part.clip))
