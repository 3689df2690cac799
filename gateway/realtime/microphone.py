"""The input buffer of a session: live streams to the speech service, one after the other."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.errors import ApiError, invalid
from gateway.realtime.config import Configuration
from gateway.realtime.hearing import Hearing
from gateway.realtime.outbox import Outbox
from gateway.realtime.schemas import SessionConfig
from gateway.realtime.turns import CommittedTurn, DetectedTurns, Scribe, Turn, nothing_said, too_long
from gateway.settings import GatewaySettings
from gateway.speech import SpeechClient


@dataclass(frozen=True)
class Listener:
    """Who is told: speech begins, a detected turn is over, the client ended one (not final yet)."""

    on_begin: Callable[[], Awaitable[None]]
    on_turn: Callable[[Turn], Awaitable[None]]
    on_commit: Callable[[Turn], None]


class Microphone:
    """Opens a stream with the first samples, and another one after a commit or when one breaks."""

    def __init__(
        self,
        speech: SpeechClient,
        settings: GatewaySettings,
        configuration: Configuration,
        outbox: Outbox,
        listener: Listener,
    ):
        self._speech, self._settings = speech, settings
        self._configuration, self._outbox, self._listener = configuration, outbox, listener
        self._hearing: Hearing | None = None
        self._turns: DetectedTurns | CommittedTurn | None = None
        self._flushing: set[Hearing] = set()
        self._offset_s = 0.0

    @property
    def is_used(self) -> bool:
        """Whether anything came in yet."""
        return bool(self._offset_s or self._hearing)

    async def append(self, samples: bytes) -> None:
        """Raises ApiError 400 when a turn that the client ends grows too long, 504 when it is not heard."""
        hearing = self._hearing or self._open()
        if isinstance(self._turns, CommittedTurn) and not hearing.buffer.fits(samples):
            raise too_long(self._settings.max_realtime_turn_s)
        await hearing.append(samples)

    async def commit(self, event_id: str | None) -> None:
        """Ends what is buffered. Raises ApiError 400 when that is nothing."""
        hearing, turns = self._hearing, self._turns
        if hearing is None:
            raise nothing_said()
        self._let_go(hearing)
        self._flushing.add(hearing)
        if turns:
            turns.commit(event_id)
        if isinstance(turns, CommittedTurn):
            self._listener.on_commit(turns.turn)
        await hearing.finish()

    async def reconfigure(self, config: SessionConfig) -> None:
        """Brings settings into force. Raises ApiError 400 while something is buffered that old ones heard."""
        if config.audio != self._configuration.current.audio:
            if self._turns and self._turns.is_speaking:
                raise invalid(
                    "Commit or clear the audio buffer before changing how it is heard.",
                    "session.audio.input",
                    "input_audio_buffer_not_empty",
                )
            await self.clear()
        self._configuration.current = config

    async def clear(self) -> None:
        """Drops what is buffered."""
        if hearing := self._hearing:
            self._let_go(hearing)
            await hearing.close()

    async def close(self) -> None:
        """Stops listening, to committed turns as well."""
        await self.clear()
        for hearing in list(self._flushing):
            await hearing.close()

    def _open(self) -> Hearing:
        config = self._configuration.current
        hearing = Hearing(
            self._speech,
            self._configuration.listening_of(config),
            self._settings.max_realtime_turn_s,
            self._settings.max_realtime_session_s,
        )
        transcription = config.audio.input.transcription
        scribe = Scribe(self._outbox, writes=config.type == "transcription" or transcription is not None)
        turns: DetectedTurns | CommittedTurn = CommittedTurn(hearing, scribe)
        if config.audio.input.turn_detection:
            turns = DetectedTurns(
                hearing, self._offset_s, self._outbox, scribe, self._listener.on_begin, self._listener.on_turn
            )

        async def on_end(failure: ApiError | None) -> None:
            if hearing is self._hearing:
                self._let_go(hearing)
            self._flushing.discard(hearing)
            if failure:
                self._outbox.error(failure)
            turns.end(failure)

        self._hearing, self._turns = hearing, turns
        hearing.start(turns.take, on_end)
        return hearing

    def _let_go(self, hearing: Hearing) -> None:
        self._hearing = self._turns = None
        self._offset_s += hearing.received_s
