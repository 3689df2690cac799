"""The text reader at work, on a thread of its own. What goes wrong in it costs a picture its lines only."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import structlog

from servicekit.errors import ServiceError
from services.vision import metrics
from services.vision.images import read_picture
from services.vision.text.reader import READ_SIDE, Reading, TextModel, read_text

log = structlog.get_logger(__name__)

RETRY_S = 10.0

Result = TypeVar("Result")


class TextRuntime:
    """Picture files to lines of text, one after the other.

    load: makes the model, on the thread. limit_s: time for a picture, waiting for others included.
    """

    def __init__(self, load: Callable[[], TextModel], limit_s: float, max_pixels: int):
        self._load, self._limit_s, self._max_pixels = load, limit_s, max_pixels
        self._loading: asyncio.Task[TextModel] | None = None
        self._ended_at = 0.0
        self._thread = ThreadPoolExecutor(1, "vision-text")

    async def read(self, data: bytes) -> Reading:
        """The lines in a picture file; none, and incomplete, where reading failed or took too long."""
        try:
            model = await asyncio.shield(self.start())
            deadline = time.monotonic() + self._limit_s
            reading = await self._in_thread(lambda: self._read(model, data, deadline))
        except ServiceError:  # the encoder refuses the picture as well, and says why
            return Reading(complete=False)
        except Exception as error:  # whatever foreign libraries raise
            metrics.TEXT_FAILURES.inc()
            log.warning("text in a picture not read", error=repr(error))
            return Reading(complete=False)
        if not reading.complete:
            metrics.TEXT_CUT_SHORT.inc()
            log.warning("text in a picture not read to its end", limit_s=self._limit_s)
        return reading

    def start(self) -> "asyncio.Task[TextModel]":
        """Begins to load unless that has been done; a load that failed is tried again, after a while."""
        failed = self._loading is not None and self._loading.done() and _failed(self._loading)
        if self._loading is None or (failed and time.monotonic() - self._ended_at >= RETRY_S):
            self._loading = asyncio.create_task(self._in_thread(self._load))
            self._loading.add_done_callback(self._note_end)
        return self._loading

    async def close(self) -> None:
        """Stops after the line that is being read."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _note_end(self, _: object) -> None:
        self._ended_at = time.monotonic()

    def _read(self, model: TextModel, data: bytes, deadline: float) -> Reading:
        if time.monotonic() >= deadline:
            return Reading(complete=False)
        started = time.perf_counter()
        picture = read_picture(data, side=READ_SIDE // 2, max_pixels=self._max_pixels)
        reading = read_text(model, picture.image, deadline)
        scale = picture.width / picture.image.width, picture.height / picture.image.height
        seconds = time.perf_counter() - started
        metrics.TEXT_SECONDS.observe(seconds)
        metrics.TEXT_LINES.inc(len(reading.lines))
        return replace(reading.scaled(*scale), seconds=seconds)

    async def _in_thread(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)


def _failed(task: "asyncio.Task[TextModel]") -> bool:
    return task.cancelled() or task.exception() is not None
