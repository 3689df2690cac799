"""What was said so far: items in order, within bounds."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.errors import invalid

Role = Literal["user", "assistant", "system"]
_NAMES = {"user": "input_text", "system": "input_text", "assistant": "output_text"}


@dataclass(frozen=True)
class Text:
    """Something written."""

    text: str


@dataclass(frozen=True)
class Image:
    """A picture file."""

    data: bytes


@dataclass
class Speech:
    """A spoken turn; `clip` is a WAV file. `heard` is set once the recogniser is done with it."""

    clip: bytes = b""
    transcript: str | None = None
    heard: asyncio.Event = field(default_factory=asyncio.Event)


Part = Text | Image | Speech


@dataclass
class Item:
    """One message of the conversation."""

    id: str
    role: Role
    parts: list[Part]
    status: Literal["completed", "incomplete", "in_progress"] = "completed"

    @property
    def media(self) -> list[bytes]:
        """The files in it."""
        files = (part.clip if isinstance(part, Speech) else getattr(part, "data", b"") for part in self.parts)
        return [file for file in files if file]

    @property
    def nbytes(self) -> int:
        """Of media and text."""
        written = sum(len(part.text.encode()) for part in self.parts if isinstance(part, Text))
        return written + sum(map(len, self.media))

    @property
    def shown(self) -> dict[str, Any]:
        """As the client sees it, without the bytes of its media."""
        return {
            "id": self.id,
            "object": "realtime.item",
            "type": "message",
            "role": self.role,
            "status": self.status,
            "content": [self._shown(part) for part in self.parts],
        }

    def _shown(self, part: Part) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"type": _NAMES[self.role], "text": part.text}
        if isinstance(part, Image):
            return {"type": "input_image"}
        return {"type": "input_audio", "transcript": part.transcript}


class Conversation:
    """Items in order. Whoever adds one says afterwards which old ones had to go (`trim`)."""

    def __init__(self, max_items: int, max_media: int, max_bytes: int):
        self._max_items, self._max_media, self._max_bytes = max_items, max_media, max_bytes
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @property
    def last_id(self) -> str | None:
        """Of the newest item."""
        return self._items[-1].id if self._items else None

    def find(self, item_id: str, param: str) -> Item:
        """Raises ApiError 400 when there is none."""
        for item in self._items:
            if item.id == item_id:
                return item
        raise invalid(f"There is no item {item_id!r}.", param, "item_not_found")

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Places an item behind another, first (`root`), or last; the id that it stands behind.

        Raises ApiError 400: its id is taken, the other one is not there, it alone is too much.
        """
        if any(other.id == item.id for other in self._items):
            raise invalid(f"There is an item {item.id!r} already.", "item.id", "item_exists")
        if not self._fits([item]):
            raise invalid(
                f"At most {self._max_media} pictures and clips, and {self._max_bytes} bytes, are taken.",
                "item.content",
                "item_too_large",
            )
        place = len(self._items)
        if after == "root":
            place = 0
        elif after is not None:
            place = self._items.index(self.find(after, "previous_item_id")) + 1
        self._items.insert(place, item)
        return self._items[place - 1].id if place else None

    def remove(self, item: Item) -> None:
        """Takes an item out, if it is still there."""
        self._items = [other for other in self._items if other is not item]

    def trim(self) -> list[str]:
        """Drops the oldest items until the rest is within bounds; their ids."""
        gone = []
        while not self._fits(self._items):
            gone.append(self._items.pop(0).id)
        return gone

    def forget_oldest_turn(self) -> list[str]:
        """Drops everything before the second turn of the user; the ids, none when there is only one turn."""
        starts = [
            index
            for index, item in enumerate(self._items)
            if item.role == "user" and (index == 0 or self._items[index - 1].role != "user")
        ]
        cut = starts[1] if len(starts) > 1 else 0
        gone, self._items = self._items[:cut], self._items[cut:]
        return [item.id for item in gone]

    def _fits(self, items: Sequence[Item]) -> bool:
        return (
            len(items) <= self._max_items
            and sum(len(item.media) for item in items) <= self._max_media
            and sum(item.nbytes for item in items) <= self._max_bytes
        )
