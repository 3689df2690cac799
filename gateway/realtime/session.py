"""One realtime connection: what the client asks for, in the order it asks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from pydantic_core import from_json

from gateway import media
from gateway.bounds import check_values
from gateway.clients import Clients
from gateway.errors import ApiError, invalid, unforeseen
from gateway.realtime.config import Configuration, samples_of
from gateway.realtime.conversation import Conversation, Item
from gateway.realtime.items import to_item
from gateway.realtime.microphone import Listener, Microphone
from gateway.realtime.outbox import Outbox, new_id
from gateway.realtime.responses import Reason, Response
from gateway.realtime.schemas import (
    Append,
    ClientEvent,
    ItemCreate,
    ItemNamed,
    ResponseCancel,
    ResponseCreate,
    ResponseParams,
    SessionUpdate,
    parse,
)
from gateway.realtime.turns import Turn
from gateway.settings import GatewaySettings

log = structlog.get_logger("realtime")


class Session:
    """Obeys client events one after the other; every mistake is an `error` event, and the session goes on."""

    def __init__(
        self, clients: Clients, settings: GatewaySettings, configuration: Configuration, outbox: Outbox
    ):
        self._clients, self._settings = clients, settings
        self._configuration, self._outbox = configuration, outbox
        self._conversation = Conversation(
            settings.max_realtime_items, settings.max_media_parts, settings.max_body_bytes
        )
        self._conversation_id = new_id("conv")
        listener = Listener(self._on_voice, self._on_turn, self._add_spoken)
        self._microphone = Microphone(clients.speech, settings, configuration, outbox, listener)
        self._response: Response | None = None
        self._handlers: dict[str, tuple[type[ClientEvent], Callable[[Any], Awaitable[None]]]] = {
            "session.update": (SessionUpdate, self._update),
            "input_audio_buffer.append": (Append, self._append),
            "input_audio_buffer.commit": (ClientEvent, self._commit),
            "input_audio_buffer.clear": (ClientEvent, self._clear),
            "conversation.item.create": (ItemCreate, self._create_item),
            "conversation.item.delete": (ItemNamed, self._delete_item),
            "conversation.item.retrieve": (ItemNamed, self._retrieve_item),
            "response.create": (ResponseCreate, self._create_response),
            "response.cancel": (ResponseCancel, self._cancel_response),
        }
        outbox.emit("session.created", session=configuration.shown)

    async def take(self, message: str | None) -> None:
        """One message of the client; None stands for one that is no text."""
        event_id: str | None = None
        try:
            raw = _read(message)
            event_id = raw.get("event_id") if isinstance(raw.get("event_id"), str) else None
            kind = raw.get("type")
            if not isinstance(kind, str) or kind not in self._handlers:
                raise invalid(f"An event is of type {', '.join(self._handlers)}.", "type", "unknown_event")
            schema, handle = self._handlers[kind]
            await handle(parse(schema, raw))
        except ApiError as error:
            self._outbox.error(error, event_id)
        except Exception:
            log.exception("an event failed unforeseen")
            self._outbox.error(unforeseen(), event_id)

    async def close(self) -> None:
        """Ends whatever runs."""
        await self._microphone.close()
        if self._response:
            await self._response.cancel("client_cancelled")

    async def _update(self, event: SessionUpdate) -> None:
        config = self._configuration.merged(event.session)
        if config.type != self._configuration.current.type and (
            self._conversation.last_id or self._microphone.is_used
        ):
            raise invalid("The type of a session is settled once it is used.", "session.type")
        await self._microphone.reconfigure(config)
        self._outbox.emit("session.updated", session=self._configuration.shown)

    async def _append(self, event: Append) -> None:
        audio = media.read_base64(event.audio, "audio", self._settings.max_realtime_event_bytes)
        await self._microphone.append(samples_of(audio, self._configuration.current, "audio"))

    async def _commit(self, event: ClientEvent) -> None:
        await self._microphone.commit(event.event_id)

    async def _clear(self, event: ClientEvent) -> None:
        await self._microphone.clear()
        self._outbox.emit("input_audio_buffer.cleared")

    async def _create_item(self, event: ItemCreate) -> None:
        self._answers_only()
        item = await asyncio.to_thread(to_item, event.item, self._configuration.current, self._settings)
        self._add(item, event.previous_item_id)

    async def _delete_item(self, event: ItemNamed) -> None:
        self._conversation.remove(self._conversation.find(event.item_id, "item_id"))
        self._outbox.emit("conversation.item.deleted", item_id=event.item_id)

    async def _retrieve_item(self, event: ItemNamed) -> None:
        item = self._conversation.find(event.item_id, "item_id")
        self._outbox.emit("conversation.item.retrieved", item=item.shown)

    async def _create_response(self, event: ResponseCreate) -> None:
        self._answers_only()
        if self._response and self._response.is_active:
            raise invalid(
                f"{self._response.id} is still being answered.",
                None,
                "conversation_already_has_active_response",
            )
        self._respond(event.response or ResponseParams())

    async def _cancel_response(self, event: ResponseCancel) -> None:
        response = self._response
        if not response or not response.is_active or event.response_id not in (None, response.id):
            raise invalid("There is no such response to cancel.", "response_id", "response_cancel_not_active")
        await response.cancel("client_cancelled")

    async def _on_voice(self) -> None:
        """The user speaks: an answer that is being given is cut short."""
        vad = self._configuration.current.audio.input.turn_detection
        if vad and vad.interrupt_response:
            await self._interrupt("turn_detected")

    async def _on_turn(self, turn: Turn) -> None:
        """The server noticed that a turn is over."""
        self._add_spoken(turn)
        config = self._configuration.current
        vad = config.audio.input.turn_detection
        if config.type == "realtime" and vad and vad.create_response:
            await self._interrupt("turn_detected")
            self._respond(ResponseParams())

    async def _interrupt(self, reason: Reason) -> None:
        if self._response and self._response.is_active:
            await self._response.cancel(reason)

    def _respond(self, params: ResponseParams) -> None:
        config = self._configuration.current
        self._response = Response(
            self._clients.llm, self._outbox, self._conversation, config, params, self._conversation_id
        )

    def _add_spoken(self, turn: Turn) -> None:
        previous = self._conversation.last_id
        self._outbox.emit("input_audio_buffer.committed", item_id=turn.item.id, previous_item_id=previous)
        self._add(turn.item)

    def _add(self, item: Item, after: str | None = None) -> None:
        previous = self._conversation.add(item, after)
        self._outbox.emit("conversation.item.added", item=item.shown, previous_item_id=previous)
        self._outbox.emit("conversation.item.done", item=item.shown, previous_item_id=previous)
        for item_id in self._conversation.trim():
            self._outbox.emit("conversation.item.deleted", item_id=item_id)

    def _answers_only(self) -> None:
        if self._configuration.current.type != "realtime":
            raise invalid("A transcription session only listens.", "type", "unsupported_in_transcription")


def _read(message: str | None) -> dict[str, Any]:
    """Raises ApiError 400: no text, no JSON, no object, more values than an event has."""
    check_values(message or "")
    try:
        # Unlike the standard library's, this reader takes no half characters, which cannot be sent back.
        raw = from_json(message, allow_inf_nan=False) if message is not None else None
    except ValueError as error:
        raise invalid("The event is not valid JSON.", None, "invalid_json") from error
    if not isinstance(raw, dict):
        raise invalid("An event is a JSON object, sent as text.", None, "invalid_json")
    return raw
