"""The way of a picture: cache, or decode and encode, once however many ask for it."""

import asyncio
import hashlib
import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from servicekit.cache import CountedCache
from servicekit.errors import InvalidArgument, ResourceExhausted
from servicekit.flights import SingleFlight
from services.vision import metrics
from services.vision.checkpoint import Prepared
from services.vision.encoder import Encoder
from services.vision.encoding import Encoding
from services.vision.settings import VisionSettings
from services.vision.text.reader import UNREAD, Reading
from services.vision.text.runtime import TextRuntime

RETRY_AFTER_S = 1.0

# Decoded pictures are large: while one batch runs, another one may stand ready.
BATCHES_AHEAD = 2


@dataclass(frozen=True)
class Timings:
    """Seconds spent on one picture, on its text at the same time as on the rest; all zero for a cache hit."""

    queue_s: float = 0.0
    decode_s: float = 0.0
    forward_s: float = 0.0
    read_s: float = 0.0


@dataclass(frozen=True)
class Encoded:
    """The answer to one caller."""

    digest: bytes
    encoding: Encoding
    timings: Timings
    cache_hit: bool


class Pipeline:
    """Picture bytes to embeddings, and to lines of text where there is a reader."""

    def __init__(self, encoder: Encoder, settings: VisionSettings, text: TextRuntime | None = None):
        self._encoder = encoder
        self._text = text
        self._settings = settings
        self._cache: CountedCache[bytes, Encoding] = CountedCache(settings.cache_bytes, metrics.CACHE)
        self._flights: SingleFlight[bytes, tuple[Encoding, Timings]] = SingleFlight()
        self._ahead = asyncio.Semaphore(BATCHES_AHEAD * settings.max_batch)
        self._decoders = ThreadPoolExecutor(settings.decode_threads, "vision-decode")

    async def encode(self, data: bytes) -> Encoded:
        """Embeds one picture file; raises a ServiceError that names what is wrong with it."""
        if len(data) > self._settings.max_image_bytes:
            raise InvalidArgument(
                "IMAGE_TOO_LARGE",
                f"The picture has more than {self._settings.max_image_bytes:,} bytes.",
                field="image",
            )
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
        encoding = self._cache.get(digest)
        if encoding is not None:
            return Encoded(digest, encoding, Timings(), cache_hit=True)
        if digest not in self._flights and len(self._flights) >= self._settings.max_queue:
            raise ResourceExhausted(
                "QUEUE_FULL", "Too many pictures are waiting.", retry_after_s=RETRY_AFTER_S
            )
        encoding, timings = await self._flights.join(digest, lambda: self._work(digest, data))
        return Encoded(digest, encoding, timings, cache_hit=False)

    async def warm_up(self) -> None:
        """Decodes a tiny picture and embeds it; when loading is left to first use, decodes only."""
        file = io.BytesIO()
        Image.new("RGB", (2, 2), "grey").save(file, "PNG")
        prepared, _ = await self._prepare(file.getvalue())
        if not self._settings.lazy_load:
            if self._text is not None:
                self._text.start()
            await self._encoder.try_out(prepared)

    def healthy(self) -> bool:
        """False while a forward pass takes suspiciously long."""
        return self._encoder.busy_seconds() < self._settings.stall_seconds

    async def close(self) -> None:
        """Gives up all work."""
        await self._flights.close()
        await self._encoder.close()
        if self._text is not None:
            await self._text.close()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    async def _work(self, digest: bytes, data: bytes) -> tuple[Encoding, Timings]:
        arrived = time.perf_counter()
        with metrics.IN_WORK.track_inprogress():
            async with self._ahead:
                reading = asyncio.create_task(self._read(data))
                try:
                    prepared, decode_s = await self._prepare(data)
                    forward = await self._encoder.encode(prepared)
                    queue_s = time.perf_counter() - arrived - decode_s - forward.seconds
                    text = await reading
                finally:
                    reading.cancel()
        encoding = Encoding(forward.embedding, prepared.width, prepared.height, prepared.grid_thw, text)
        if text.complete:
            self._cache.put(digest, encoding)
        return encoding, Timings(queue_s, decode_s, forward.seconds, text.seconds)

    async def _read(self, data: bytes) -> Reading:
        return UNREAD if self._text is None else await self._text.read(data)

    async def _prepare(self, data: bytes) -> tuple[Prepared, float]:
        return await asyncio.get_running_loop().run_in_executor(self._decoders, self._decode, data)

    def _decode(self, data: bytes) -> tuple[Prepared, float]:
        started = time.perf_counter()
        prepared = self._encoder.checkpoint.prepare(data, self._settings.max_image_pixels)
        seconds = time.perf_counter() - started
        metrics.DECODE_SECONDS.observe(seconds)
        return prepared, seconds
