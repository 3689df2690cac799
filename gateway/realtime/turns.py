"""Spoken turns: from what the speech service hears to items of the conversation."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.audio.deltas import Deltas
from gateway.errors import ApiError, invalid
from gateway.realtime.conversation import Item, Speech
from gateway.realtime.hearing import Hearing
from gateway.realtime.outbox import Outbox, new_id
from gateway.speech import Boundary, Event, Heard, Segment, Voice

CONTENT = {"content_index": 0}


@dataclass
class Turn:
    """What is being said, from its first sound on."""

    item: Item
    speech: Speech
    begun: bool = False
    ended: bool = False
    deltas: Deltas = field(default_factory=Deltas)

    @classmethod
    def new(cls) -> "Turn":
        speech = Speech()
        return cls(Item(new_id("item"), "user", [speech]), speech)


@dataclass
class Commit:
    """A client's own end of what is buffered, and whether a turn was found since."""

    event_id: str | None
    found: bool = False


class Scribe:
    """Tells the client what is written down; silent when transcription is off."""

    def __init__(self, outbox: Outbox, *, writes: bool):
        self._outbox, self._writes = outbox, writes

    def write(self, turn: Turn, heard: Heard) -> None:
        """Newly settled text."""
        delta = turn.deltas.push(heard)
        if delta and self._writes:
            kind = "conversation.item.input_audio_transcription.delta"
            self._outbox.emit(kind, item_id=turn.item.id, **CONTENT, delta=delta)

    def complete(self, turn: Turn, seconds: float) -> None:
        """The whole transcript; an item that was only spoken to a model shows none."""
        if self._writes:
            kind = "conversation.item.input_audio_transcription.completed"
            usage = {"type": "duration", "seconds": round(seconds, 3)}
            transcript = turn.speech.transcript or ""
            self._outbox.emit(kind, item_id=turn.item.id, **CONTENT, transcript=transcript, usage=usage)

    def fail(self, turn: Turn, error: ApiError) -> None:
        """There will be no transcript."""
        if self._writes:
            said = error.body["error"]
            kind = "conversation.item.input_audio_transcription.failed"
            self._outbox.emit(kind, item_id=turn.item.id, **CONTENT, error=said)


class DetectedTurns:
    """Turns as the server notices them: speech begins, pauses long enough, and is one."""

    def __init__(
        self,
        hearing: Hearing,
        offset_s: float,
        outbox: Outbox,
        scribe: Scribe,
        on_begin: Callable[[], Awaitable[None]],
        on_turn: Callable[[Turn], Awaitable[None]],
    ):
        self._hearing, self._offset_s = hearing, offset_s
        self._outbox, self._scribe = outbox, scribe
        self._on_begin, self._on_turn = on_begin, on_turn
        self._turns: deque[Turn] = deque()
        self._committed: Commit | None = None

    @property
    def is_speaking(self) -> bool:
        """Whether a turn has begun that is not final."""
        return bool(self._turns)

    async def take(self, event: Event) -> None:
        """One event of the stream."""
        if isinstance(event, Voice):
            if event.boundary is Boundary.BEGIN:
                await self._begin(event.at_s)
            elif self._turns and not self._turns[-1].ended:
                self._end(self._turns[-1], event.at_s)
            return
        if not event.text and not self._turns:
            return
        if not self._turns:
            await self._begin(event.segment.start_s if event.segment else self._heard_s)
        turn = self._turns[0]
        if event.text:
            self._scribe.write(turn, event)
        if event.segment:
            await self._close(turn, event, event.segment)

    def commit(self, event_id: str | None) -> None:
        """The client ends what is buffered, before silence does."""
        self._committed = Commit(event_id)

    def end(self, failure: ApiError | None) -> None:
        """The stream is over: nothing more comes of what has begun."""
        for turn in self._turns:
            self._scribe.fail(turn, failure or nothing_said())
        self._turns.clear()
        if self._committed and not failure and not self._committed.found:
            self._outbox.error(nothing_said(), self._committed.event_id)

    async def _begin(self, at_s: float) -> None:
        turn = Turn.new()
        self._turns.append(turn)
        self._outbox.emit(
            "input_audio_buffer.speech_started", audio_start_ms=self._ms(at_s), item_id=turn.item.id
        )
        await self._on_begin()

    def _end(self, turn: Turn, at_s: float) -> None:
        turn.ended = True
        self._outbox.emit(
            "input_audio_buffer.speech_stopped", audio_end_ms=self._ms(at_s), item_id=turn.item.id
        )

    async def _close(self, turn: Turn, heard: Heard, segment: Segment) -> None:
        if not turn.ended:
            self._end(turn, segment.end_s)
        self._turns.popleft()
        clip = self._hearing.buffer.clip(segment.start_s, segment.end_s)
        self._hearing.buffer.forget(round(segment.end_s * self._hearing.buffer.rate))
        if not heard.text:  # a sound without words is no turn
            return
        if clip is None:
            error = too_long(segment.end_s - segment.start_s)
            self._outbox.error(error)
            self._scribe.fail(turn, error)
            return
        turn.speech.clip, turn.speech.transcript = clip, heard.text
        turn.speech.heard.set()
        if self._committed:
            self._committed.found = True
        await self._on_turn(turn)
        self._scribe.complete(turn, segment.end_s - segment.start_s)

    def _ms(self, at_s: float) -> int:
        return round((self._offset_s + at_s) * 1e3)

    @property
    def _heard_s(self) -> float:
        return self._hearing.buffer.end / self._hearing.buffer.rate


class CommittedTurn:
    """A turn that the client begins and ends itself; pauses in it are of no account."""

    def __init__(self, hearing: Hearing, scribe: Scribe):
        self.turn = Turn.new()
        self._hearing, self._scribe = hearing, scribe
        self._finals: list[Heard] = []
        self._index = 0
        self._was_committed = False

    async def take(self, event: Event) -> None:
        """One event of the stream."""
        if isinstance(event, Voice):
            return
        if event.index != self._index:
            self._index, self.turn.deltas = event.index, Deltas()
        self._scribe.write(self.turn, event)
        if event.segment and event.text:
            self._finals.append(event)

    @property
    def is_speaking(self) -> bool:
        """A turn has begun with the first sample."""
        return True

    def commit(self, event_id: str | None) -> None:
        """The client has said all of it."""
        self._was_committed = True

    def end(self, failure: ApiError | None) -> None:
        """The stream is over: the clip goes from the first sound to the last. An answer may wait for it."""
        speech = self.turn.speech
        if failure or not self._was_committed:
            self._scribe.fail(self.turn, failure or nothing_said())
        else:
            segments = [final.segment for final in self._finals if final.segment]
            speech.transcript = "".join(final.text for final in self._finals)
            if segments:
                speech.clip = self._hearing.buffer.clip(segments[0].start_s, segments[-1].end_s) or b""
            self._scribe.complete(self.turn, self._hearing.buffer.end / self._hearing.buffer.rate)
        speech.heard.set()


def too_long(seconds: float) -> ApiError:
    """The refusal of a turn beyond what is kept."""
    return invalid(f"A turn of {seconds:.0f} seconds is too long.", None, "AUDIO_TOO_LONG")


def nothing_said() -> ApiError:
    """The refusal of a commit without speech."""
    return invalid("Nothing was said.", None, "input_audio_buffer_commit_empty")
