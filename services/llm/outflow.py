"""How answers leave: token by token, or in larger pieces while many leave at the same time.

A piece costs the processes that it passes, and the client, as much as half a token costs the backbone of a
small model on a CPU. So all answers together get so many pieces a second, and no token waits long for that.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from services.llm.engine.request import Event, Finished

PIECES_PER_SECOND = 500


class Outbox:
    """What was computed of one answer and is not told yet."""

    def __init__(self) -> None:
        self.held: list[Event] = []
        self.due = 0.0
        self._ready: asyncio.Queue[list[Event]] = asyncio.Queue()

    def release(self) -> None:
        """Lets go of all that is held."""
        self._ready.put_nowait(self.held)
        self.held = []

    async def take(self) -> list[Event]:
        """The next piece, and all behind it where the reader is late."""
        events = await self._ready.get()
        while not self._ready.empty():
            events += self._ready.get_nowait()
        return events


class Outflow:
    """The outboxes of all answers under way; used on the event loop alone.

    longest_hold: seconds that a token may wait for those that follow it; 0 tells each at once.
    """

    def __init__(self, longest_hold: float, clock: Callable[[], float] = time.monotonic):
        self._longest_hold, self._clock = longest_hold, clock
        self._boxes: dict[str, Outbox] = {}

    def open(self, request_id: str) -> Outbox:
        box = self._boxes[request_id] = Outbox()
        return box

    def close(self, request_id: str) -> None:
        del self._boxes[request_id]

    def put(self, events: Iterable[Event]) -> None:
        """Takes a step's events in, and tells what is due: first tokens and ends at once."""
        now = self._clock()
        for event in events:
            if (box := self._boxes.get(event.request_id)) is not None:
                box.held.append(event)
                if isinstance(event, Finished):
                    box.due = now
        next_due = now + min(self._longest_hold, len(self._boxes) / PIECES_PER_SECOND)
        # All of them: whoever waits for a turn has no events of its own.
        for box in self._boxes.values():
            if box.held and box.due <= now:
                box.release()
                box.due = next_due
