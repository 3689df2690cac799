"""One live stream to the speech service, and the samples that its turns are cut from."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import structlog

from gateway.errors import ApiError, from_service, unforeseen
from gateway.realtime.buffer import SAMPLE_BYTES, SampleBuffer
from gateway.speech import Event, Listening, SpeechClient
from servicekit.errors import ServiceError

PIECE_S = 0.25
MAX_WAITING = 4  # pieces; then the client is read no further until the service has caught up
PATIENCE_S = 15.0

log = structlog.get_logger("realtime")


class Hearing:
    """Samples go in by `append`; what is heard is given to `on_event`, and the end to `on_end`."""

    def __init__(self, speech: SpeechClient, listening: Listening, buffer_s: float, timeout_s: float):
        self.buffer = SampleBuffer(listening.format.rate, buffer_s)
        self.received_s = 0.0
        """How much came in, whether or not it was listened to before the stream ended."""
        self._speech, self._listening, self._timeout_s = speech, listening, timeout_s
        self._piece = SAMPLE_BYTES * int(PIECE_S * listening.format.rate)
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING)
        self._task: asyncio.Task[None] | None = None

    def start(
        self,
        on_event: Callable[[Event], Awaitable[None]],
        on_end: Callable[[ApiError | None], Awaitable[None]],
    ) -> None:
        """Begins to listen."""
        self._task = asyncio.create_task(self._run(on_event, on_end))

    async def append(self, samples: bytes) -> None:
        """Waits while the service is behind. Raises ApiError 504 when it does not catch up."""
        self.received_s += len(samples) / SAMPLE_BYTES / self.buffer.rate
        for start in range(0, len(samples), self._piece):
            piece = samples[start : start + self._piece]
            self.buffer.append(piece)
            await self._put(piece)

    async def finish(self) -> None:
        """No more samples come; what was heard until now becomes final."""
        await self._put(None)

    async def close(self) -> None:
        """Stops listening at once."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _put(self, samples: bytes | None) -> None:
        putting = asyncio.create_task(self._waiting.put(samples))
        listening = [self._task] if self._task else []
        try:
            # Where listening ends meanwhile, `on_end` has said why.
            done, _ = await asyncio.wait(
                (putting, *listening), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            putting.cancel()
        if not done:
            raise ApiError(504, "SPEECH_TOO_SLOW", "The speech service does not keep up with the audio.")

    async def _run(
        self,
        on_event: Callable[[Event], Awaitable[None]],
        on_end: Callable[[ApiError | None], Awaitable[None]],
    ) -> None:
        failure = None
        try:
            events = self._speech.listen(self._listening, self._audio(), self._timeout_s)
            async with aclosing(events):
                async for event in events:
                    await on_event(event)
        except ServiceError as error:
            failure = from_service(error, None)
        except Exception:
            log.exception("listening failed unforeseen")
            failure = unforeseen()
        await on_end(failure)

    async def _audio(self) -> AsyncIterator[bytes]:
        while (samples := await self._waiting.get()) is not None:
            yield samples
