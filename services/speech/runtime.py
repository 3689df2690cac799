"""The recogniser at work: weights loaded once, utterances of many clips batched on a few threads."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog
import torch

from servicekit.batching import Batcher
from servicekit.checkpoint import CheckpointError
from servicekit.errors import Unavailable
from services.speech import metrics
from services.speech.checkpoint import Checkpoint
from services.speech.model.streaming import Heard as HeardChunk
from services.speech.model.streaming import StreamState
from services.speech.phrases import PhraseMachine
from services.speech.quiet import Quiet
from services.speech.recogniser import Hypothesis, Recogniser
from services.speech.resampling import resample
from services.speech.search import Heard

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

# One for clips, one for drafts of live streams, so that neither waits for all of the other; and one for
# what is short: chunks of live streams, and explanations.
FORWARD_THREADS = 3


@dataclass(frozen=True)
class Utterance:
    """Mono samples; the phrases to listen for in them; the characters that the text begins with."""

    samples_N: torch.Tensor
    rate: int
    phrases: PhraseMachine | None = None
    prefix: tuple[int, ...] = ()
    guess: tuple[int, ...] = ()
    """What probably follows the prefix."""
    beams: int = 1

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples_N) / self.rate


@dataclass(frozen=True)
class Recognised:
    """What was said in one utterance, and how long the batch took that it was part of."""

    hypothesis: Hypothesis
    seconds: float


@dataclass(frozen=True)
class Written:
    """The text of one utterance, as character ids, and the states that it was read from, quiet included."""

    ids: tuple[int, ...]
    states_SD: torch.Tensor
    quiet: Quiet
    seconds: float


class Runtime:
    """Loads the recogniser at first use, and runs it off the event loop."""

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, *, max_batch: int, beams: int
    ):
        self.checkpoint = checkpoint
        self.device = device
        self.dtype = dtype
        self._beams = beams
        self._recogniser: Recogniser | None = None
        self._loading: asyncio.Task[Recogniser] | None = None
        self._clips = Batcher(self._run_batch, max_batch)
        self._live = Batcher(self._run_batch, max_batch)
        self._chunks = Batcher(self._hear_batch, max_batch)
        self._threads = ThreadPoolExecutor(FORWARD_THREADS, "speech-forward")

    @property
    def loaded(self) -> bool:
        """True once the weights are in memory."""
        return self._recogniser is not None

    async def load(self) -> Recogniser:
        """The recogniser. Concurrent callers share one load; after a failed one the next call tries again."""
        if self._recogniser is not None:
            return self._recogniser
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())
        return await asyncio.shield(self._loading)

    async def draft(self, utterance: Utterance, *, live: bool) -> Written:
        """Writes down greedily what may still grow, in forward passes shared with whoever else waits."""
        return await self._submit(utterance, live)

    async def recognise(self, utterance: Utterance, *, live: bool) -> Recognised:
        """Writes down one utterance as well as it can be, with all that is known about it."""
        written = await self._submit(replace(utterance, beams=self._beams), live)
        recogniser = await self.load()
        started = time.perf_counter()
        hypothesis = await self.run(recogniser.explain, written.states_SD, written.ids, written.quiet)
        metrics.AUDIO_SECONDS.inc(utterance.seconds)
        return Recognised(hypothesis, written.seconds + time.perf_counter() - started)

    async def hear(self, chunk_TM: torch.Tensor, state: StreamState) -> tuple[HeardChunk, StreamState]:
        """The next chunk of a live utterance, in a forward pass shared with whoever else waits."""
        await self.load()
        return await self._chunks.submit((chunk_TM, state))

    async def run(self, function: Callable[..., Result], *args: object) -> Result:
        """Calls a function of the recogniser on a forward thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    async def try_out(self, samples_N: torch.Tensor) -> None:
        """Loads the recogniser and writes down one utterance, at its own rate, that no metric counts."""
        recogniser = await self.load()
        states_SD = await self.run(recogniser.encode_full, samples_N)
        if not states_SD.isfinite().all():
            raise CheckpointError(
                f"{self.checkpoint.folder} gives states that are not finite in {self.dtype}"
            )
        await self.run(recogniser.decode, states_SD)

    def busy_seconds(self) -> float:
        """How long the current batch has been running."""
        return max(lane.busy_seconds() for lane in (self._clips, self._live, self._chunks))

    async def close(self) -> None:
        """Stops after the forward passes that are running."""
        if self._loading is not None:
            self._loading.cancel()
        await asyncio.gather(self._clips.close(), self._live.close(), self._chunks.close())
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> Recogniser:
        started = time.perf_counter()
        log.info(
            f"Loading AutoGLM speech recogniser {self.checkpoint.fingerprint} from {self.checkpoint.folder}"
        )
        try:
            self._recogniser = await self.run(self.checkpoint.load, self.device, self.dtype)
        except CheckpointError as error:
            log.error("speech recogniser not loaded", error=str(error))
            raise Unavailable("MODEL_UNAVAILABLE", "The speech recogniser could not be loaded.") from error
        log.info(f"speech recogniser on {self.device}", dtype=str(self.dtype).removeprefix("torch."))
        log.info(f"speech recogniser loaded in {time.perf_counter() - started:.2f} s")
        return self._recogniser

    async def _submit(self, utterance: Utterance, live: bool) -> Written:
        await self.load()
        return await (self._live if live else self._clips).submit(utterance)

    async def _hear_batch(
        self, batch: list[tuple[torch.Tensor, StreamState]]
    ) -> list[tuple[HeardChunk, StreamState]]:
        recogniser = await self.load()
        chunks, states = zip(*batch, strict=True)
        started = time.perf_counter()
        heard, left = await self.run(recogniser.hear, chunks, states)
        metrics.BATCH_CHUNKS.observe(len(batch))
        metrics.CHUNK_SECONDS.observe(time.perf_counter() - started)
        return list(zip(heard, left, strict=True))

    async def _run_batch(self, batch: list[Utterance]) -> list[Written]:
        recogniser = await self.load()
        started = time.perf_counter()
        forward = await self.run(self._forward, recogniser, batch)
        seconds = time.perf_counter() - started
        metrics.BATCH_UTTERANCES.observe(len(batch))
        metrics.FORWARD_SECONDS.observe(seconds)
        metrics.REAL_TIME_FACTOR.observe(seconds / sum(item.seconds for item in batch))
        return [Written(ids, states_SD, quiet, seconds) for ids, states_SD, quiet in forward]

    def _forward(
        self, recogniser: Recogniser, batch: list[Utterance]
    ) -> list[tuple[tuple[int, ...], torch.Tensor, Quiet]]:
        rate = recogniser.config.features.sample_rate
        samples = [resample(item.samples_N, item.rate, rate) for item in batch]
        features = [recogniser.features(own_N) for own_N in samples]
        if self.device.type == "cpu":  # where padding costs more than company saves
            states = [recogniser.encode([own])[0] for own in features]
        else:
            states = recogniser.encode(features)
        heard = [
            Heard(own, item.prefix, item.phrases, item.guess) for own, item in zip(states, batch, strict=True)
        ]
        texts = recogniser.write_many(heard, [item.beams for item in batch])
        return [
            (ids, states_SD, recogniser.quiet(own_N))
            for ids, states_SD, own_N in zip(texts, states, samples, strict=True)
        ]
