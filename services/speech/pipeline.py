"""The way of a clip: cache, or decode, cut into utterances and recognise, once however many ask for it."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch

from servicekit.cache import CountedCache
from servicekit.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from servicekit.flights import SingleFlight
from services.speech import metrics
from services.speech.audio import AudioFormat, Clip, check_format, read_clip
from services.speech.digests import clip_digest
from services.speech.encoding import Encoding
from services.speech.phrases import PhraseMachine
from services.speech.recogniser import Hypothesis
from services.speech.runtime import Recognised, Runtime
from services.speech.settings import SpeechSettings
from services.speech.streaming.dictation import dictate
from services.speech.utterances import Stretch, endpoint_settings, find_utterances
from services.speech.voice import VoiceNetwork

RETRY_AFTER_S = 1.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Timings:
    """Seconds spent on one clip; all zero for a cache hit."""

    queue_s: float = 0.0
    decode_s: float = 0.0
    forward_s: float = 0.0


@dataclass(frozen=True)
class Segment:
    """What was said in one utterance, in seconds from the start of the clip."""

    hypothesis: Hypothesis
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Transcript:
    """What was said in a clip."""

    segments: tuple[Segment, ...]
    seconds: float
    timings: Timings

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(segment.hypothesis.text for segment in self.segments)


@dataclass(frozen=True)
class Encoded:
    """The answer to one caller."""

    digest: bytes
    encoding: Encoding
    timings: Timings
    cache_hit: bool


@dataclass(frozen=True)
class _Prepared:
    clip: Clip
    stretches: list[Stretch]
    seconds: float


class Pipeline:
    """Clips to embeddings and text."""

    def __init__(self, runtime: Runtime, settings: SpeechSettings):
        self.runtime = runtime
        self.settings = settings
        self._config = runtime.checkpoint.config
        self._rate = self._config.features.sample_rate
        self._endpoints = endpoint_settings(
            settings.endpoint_silence_s, self._config.comfortable_seconds, settings.unsaid_silence_s
        )
        self._cache: CountedCache[bytes, Encoding] = CountedCache(settings.cache_bytes, metrics.CACHE)
        self._flights: SingleFlight[bytes, tuple[Encoding, Timings]] = SingleFlight()
        self._transcribing = 0
        self._threads = ThreadPoolExecutor(settings.decode_threads, "speech-decode")

    @cached_property
    def voices(self) -> VoiceNetwork:
        """The voice detector's weights; loading them takes a moment, so only threads should ask first."""
        return VoiceNetwork()

    async def encode(self, data: bytes, layout: AudioFormat) -> Encoded:
        """Embeds one clip; raises a ServiceError that names what is wrong with it."""
        if not self._config.projector_size:
            raise FailedPrecondition(
                "PROJECTOR_MISSING", "This recogniser has no way into a language model; it can transcribe."
            )
        self._check_size(data)
        if layout.is_raw:
            check_format(layout)
        digest = await asyncio.to_thread(clip_digest, data, layout)
        encoding = self._cache.get(digest)
        if encoding is not None:
            return Encoded(digest, encoding, Timings(), cache_hit=True)
        if digest not in self._flights:
            self._check_queue()
        encoding, timings = await self._flights.join(digest, lambda: self._encode(digest, data, layout))
        return Encoded(digest, encoding, timings, cache_hit=False)

    async def transcribe(
        self, data: bytes, layout: AudioFormat, phrases: PhraseMachine | None = None
    ) -> Transcript:
        """Writes down one clip; a silent one has no segments."""
        self._check_size(data)
        self._check_queue()
        self._transcribing += 1
        try:
            return await self._recognise(data, layout, phrases)
        finally:
            self._transcribing -= 1

    def remember(self, digest: bytes, hypotheses: Sequence[Hypothesis], seconds: float) -> None:
        """Keeps the embedding of a clip that was recognised as a stream, if there is anything to keep."""
        if self._config.projector_size and any(hypothesis.ids for hypothesis in hypotheses):
            self._cache.put(digest, _encoding(hypotheses, seconds))

    async def warm_up(self) -> None:
        """Decodes a second of noise and hears it; when loading is left to first use, decodes only."""
        noise = np.random.default_rng(0).normal(0, 0.1, self._rate).astype(np.float32)
        await self._in_thread(lambda: find_utterances(Clip(noise, self._rate), self.voices, self._endpoints))
        if not self.settings.lazy_load:
            await self.runtime.try_out(torch.from_numpy(noise))

    def healthy(self) -> bool:
        """False while a forward pass takes suspiciously long."""
        return self.runtime.busy_seconds() < self.settings.stall_seconds

    async def close(self) -> None:
        """Gives up all work."""
        await self._flights.close()
        await self.runtime.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _encode(self, digest: bytes, data: bytes, layout: AudioFormat) -> tuple[Encoding, Timings]:
        transcript = await self._recognise(data, layout, None)
        hypotheses = [segment.hypothesis for segment in transcript.segments]
        if not any(hypothesis.ids for hypothesis in hypotheses):
            raise InvalidArgument("AUDIO_SILENT", "Nobody speaks in the clip.", field="audio")
        encoding = _encoding(hypotheses, transcript.seconds)
        self._cache.put(digest, encoding)
        return encoding, transcript.timings

    async def _recognise(self, data: bytes, layout: AudioFormat, phrases: PhraseMachine | None) -> Transcript:
        arrived = time.perf_counter()
        with metrics.IN_WORK.track_inprogress():
            prepared = await self._prepared(data, layout)
            recognised = await self._recognise_all(prepared, phrases)
        metrics.CLIPS.inc()
        rate = prepared.clip.rate
        segments = tuple(
            Segment(own.hypothesis, stretch.start / rate, stretch.end / rate)
            for own, stretch in zip(recognised, prepared.stretches, strict=True)
            if own.hypothesis.ids
        )
        forward_s = sum(own.seconds for own in recognised)
        waited_s = time.perf_counter() - arrived - prepared.seconds
        timings = Timings(max(0.0, waited_s - forward_s), prepared.seconds, min(forward_s, waited_s))
        return Transcript(segments, prepared.clip.seconds, timings)

    async def _recognise_all(self, prepared: _Prepared, phrases: PhraseMachine | None) -> list[Recognised]:
        """In order; when one fails, or the caller gives up, nobody waits for the others."""
        clip = prepared.clip
        tasks = [
            asyncio.create_task(dictate(self.runtime, clip, stretch, phrases))
            for stretch in prepared.stretches
        ]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _prepared(self, data: bytes, layout: AudioFormat) -> _Prepared:
        """A caller that gives up takes its thread's work along."""
        given_up = threading.Event()
        try:
            return await self._in_thread(self._prepare, data, layout, given_up)
        finally:
            given_up.set()

    def _prepare(self, data: bytes, layout: AudioFormat, given_up: threading.Event) -> _Prepared:
        started = time.perf_counter()
        clip = read_clip(data, layout, max_seconds=self.settings.max_audio_seconds)
        stretches = find_utterances(clip, self.voices, self._endpoints, lambda: not given_up.is_set())
        seconds = time.perf_counter() - started
        metrics.DECODE_SECONDS.observe(seconds)
        return _Prepared(clip, stretches, seconds)

    def _check_size(self, data: bytes) -> None:
        if len(data) > self.settings.max_audio_bytes:
            raise InvalidArgument(
                "AUDIO_TOO_LARGE",
                f"The clip has more than {self.settings.max_audio_bytes:,} bytes.",
                field="audio",
            )

    def _check_queue(self) -> None:
        if len(self._flights) + self._transcribing >= self.settings.max_queue:
            raise ResourceExhausted("QUEUE_FULL", "Too many clips are waiting.", retry_after_s=RETRY_AFTER_S)

    async def _in_thread(self, function: Callable[..., Result], *args: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


def _encoding(hypotheses: Sequence[Hypothesis], seconds: float) -> Encoding:
    embedding_ND = torch.cat([hypothesis.embedding_ND for hypothesis in hypotheses])
    return Encoding(embedding_ND, "".join(hypothesis.text for hypothesis in hypotheses), seconds)
