"""All live streams of the service: how many there may be, and what they share."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager

from servicekit.errors import ResourceExhausted, ServiceError
from services.speech import metrics
from services.speech.pipeline import RETRY_AFTER_S, Pipeline
from services.speech.settings import SpeechSettings
from services.speech.streaming.inbox import Inbox
from services.speech.streaming.listening import Listener
from services.speech.streaming.messages import Request, Response, StreamReader, response
from services.speech.streaming.session import Listening, Session
from services.speech.utterances import endpoint_settings

LISTENING_THREADS = 2
LONGEST_DRAIN_S = 2.0


class LiveStreams:
    """Answers StreamTranscribe."""

    def __init__(self, pipeline: Pipeline, settings: SpeechSettings):
        self._pipeline = pipeline
        self._settings = settings
        self._count = 0
        self._ears = ThreadPoolExecutor(LISTENING_THREADS, "speech-listen")

    async def transcribe(self, messages: AsyncIterator[Request]) -> AsyncGenerator[Response, None]:
        """One stream, from its config to the last word; raises a ServiceError."""
        requests = Inbox(messages)
        try:
            with self._place():
                async with aclosing(self._answer(requests)) as responses:
                    async for message in responses:
                        yield message
        except ServiceError:
            await requests.drain(LONGEST_DRAIN_S)
            raise
        finally:
            await requests.close()

    def close(self) -> None:
        """Listens no more."""
        self._ears.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the streams that are heard at a time; those that are refused take none."""
        if self._count >= self._settings.max_streams:
            raise ResourceExhausted(
                "QUEUE_FULL", "Too many streams are being heard.", retry_after_s=RETRY_AFTER_S
            )
        self._count += 1
        try:
            with metrics.STREAMS.track_inprogress():
                yield
        finally:
            self._count -= 1

    async def _answer(self, requests: Inbox[Request]) -> AsyncGenerator[Response, None]:
        runtime = self._pipeline.runtime
        reader = StreamReader(requests, self._settings)
        listening = await reader.config(runtime.checkpoint.vocabulary)
        await runtime.load()
        session = Session(
            self._pipeline,
            self._ears,
            listening,
            self._listener(listening),
            self._settings.stall_seconds,
        )
        async with aclosing(session.run(reader.audio(listening.layout))) as updates:
            async for update in updates:
                yield response(update)

    def _listener(self, listening: Listening) -> Listener:
        endpoints = endpoint_settings(
            listening.silence_s,
            self._pipeline.runtime.checkpoint.config.comfortable_seconds,
            self._settings.unsaid_silence_s,
        )
        return Listener(listening.layout.rate, self._pipeline.voices, endpoints)
