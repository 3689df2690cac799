"""One live stream: one task listens, one writes down, and the call sends what they find."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from servicekit.errors import ResourceExhausted
from services.speech import metrics
from services.speech.audio import AudioFormat, Encoding
from services.speech.digests import clip_digest
from services.speech.phrases import PhraseMachine
from services.speech.pipeline import Pipeline
from services.speech.recogniser import Hypothesis
from services.speech.streaming.caption import Caption
from services.speech.streaming.dictation import Dictation
from services.speech.streaming.first_pass import FirstPass
from services.speech.streaming.framing import Tape
from services.speech.streaming.listening import Begin, Draft, End, Event, Listener
from services.speech.streaming.outbox import Outbox
from services.speech.streaming.updates import (
    Final,
    SpeechBegan,
    SpeechEnded,
    Told,
    Update,
)

WAITING_JOBS = 3
"""Drafts and ends that a stream may be behind; then it hears no further, and the client's writes wait."""
FULL_SCALE = 32_768


@dataclass(frozen=True)
class Listening:
    """How to listen to one stream."""

    layout: AudioFormat
    phrases: PhraseMachine | None
    silence_s: float
    """Silence that ends an utterance."""
    interim: bool
    """Whether texts that may still change are of interest."""
    faithful: bool
    """Whether an utterance, sent again as a file by itself, would be heard the same."""


@dataclass(frozen=True)
class _Job:
    event: Draft | End
    caption: Caption
    samples: np.ndarray
    heard_s: float
    since: float


class Session:
    """Lives as long as the call."""

    def __init__(
        self, pipeline: Pipeline, ears: Executor, listening: Listening, listener: Listener, stall_s: float
    ):
        self._pipeline = pipeline
        self._ears = ears
        self._listening = listening
        self._rate = listening.layout.rate
        self._listener = listener
        self._tape = Tape()
        self._jobs: asyncio.Queue[_Job | None] = asyncio.Queue(WAITING_JOBS)
        self._outbox = Outbox(stall_s)
        self._count = 0
        self._running: Caption | None = None

    async def run(self, audio: AsyncIterator[np.ndarray]) -> AsyncGenerator[Update, None]:
        """What is heard in mono samples, which come in pieces of at most a second or so.

        Raises what `audio` raises, after everything that was said before.
        """
        work = asyncio.create_task(self._work(audio, asyncio.current_task()))
        try:
            while (update := await self._outbox.take()) is not None:
                yield update
            await work
        finally:
            self._outbox.abandon()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _work(self, audio: AsyncIterator[np.ndarray], call: asyncio.Task[object] | None) -> None:
        try:
            await self._hear_and_write(audio)
        finally:
            try:
                await self._outbox.close()
            except ResourceExhausted as error:  # the call is stuck in writing to a client that is frozen
                if call is not None:
                    call.cancel(error)

    async def _hear_and_write(self, audio: AsyncIterator[np.ndarray]) -> None:
        listening = asyncio.create_task(self._listen(audio))
        try:
            await self._write()
            await listening
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, audio: AsyncIterator[np.ndarray]) -> None:
        try:
            async for samples in audio:
                await self._hear(samples)
            await self._meet(await self._in_thread(self._listener.flush))
        except Exception:
            await self._jobs.put(None)  # what was said before is still written down
            raise
        await self._jobs.put(None)

    async def _hear(self, samples: np.ndarray) -> None:
        self._tape.record(samples)
        await self._meet(await self._in_thread(self._listener.feed, samples))
        if (caption := self._running) is not None and await caption.hear(self._tape):
            await self._show(caption, self._seconds(self._tape.end))
        self._tape.forget(self._listener.kept_from)
        metrics.STREAM_SECONDS.inc(len(samples) / self._rate)

    async def _meet(self, events: list[Event]) -> None:
        heard_s = self._seconds(self._tape.end)
        for event in events:
            if isinstance(event, Begin):
                self._running = await self._begin(event.first)
                await self._tell(SpeechBegan(self._seconds(event.first)), heard_s)
            elif (caption := self._running) is not None:
                samples = self._tape.cut(event.first, event.end)
                if isinstance(event, End):
                    self._running = None
                    await self._tell(SpeechEnded(self._seconds(event.end)), heard_s)
                await self._jobs.put(_Job(event, caption, samples, heard_s, time.perf_counter()))

    async def _begin(self, first: int) -> Caption:
        self._count += 1
        runtime = self._pipeline.runtime
        first_pass = FirstPass.begin(runtime, await runtime.load(), self._rate, first)
        return Caption(self._count - 1, first_pass)

    async def _show(self, caption: Caption, processed_s: float) -> None:
        interim = caption.interim()
        if self._listening.interim and interim is not None:
            await self._tell(interim, processed_s)

    async def _write(self) -> None:
        vocabulary = self._pipeline.runtime.checkpoint.vocabulary
        dictation = self._dictation()
        while job := await self._jobs.get():
            if isinstance(job.event, Draft):
                ids = await dictation.draft(job.samples, binding=job.event.binding)
                drafted_s = self._seconds(len(job.samples))
                job.caption.redraft(vocabulary.text(ids), len(dictation.committed), drafted_s)
                await self._show(job.caption, job.heard_s)
                metrics.DRAFT_LAG_SECONDS.observe(time.perf_counter() - job.since)
            else:
                recognised = await dictation.finish(job.samples)
                await self._tell(self._final(job, recognised.hypothesis), job.heard_s)
                metrics.FINAL_LAG_SECONDS.observe(time.perf_counter() - job.since)
                dictation = self._dictation()

    def _final(self, job: _Job, hypothesis: Hypothesis) -> Final:
        digest = clip_digest(_pcm(job.samples), AudioFormat(Encoding.PCM_S16LE, self._rate))
        if self._listening.faithful:
            self._pipeline.remember(digest, [hypothesis], self._seconds(len(job.samples)))
        start_s = self._seconds(job.event.first)
        return Final(job.caption.index, hypothesis, start_s, self._seconds(job.event.end), digest)

    async def _tell(self, what: Told, processed_s: float) -> None:
        await self._outbox.put(Update(what, processed_s))

    def _dictation(self) -> Dictation:
        return Dictation(self._pipeline.runtime, self._rate, self._listening.phrases, live=True)

    def _seconds(self, samples: int) -> float:
        return samples / self._rate

    async def _in_thread(self, function: Callable[..., list[Event]], *args: object) -> list[Event]:
        return await asyncio.get_running_loop().run_in_executor(self._ears, function, *args)


def _pcm(samples: np.ndarray) -> bytes:
    """Signed 16-bit little-endian; samples that came as such come out as they were."""
    values: np.ndarray = np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    return bytes(values.astype("<i2").tobytes())
