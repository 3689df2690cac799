"""The encoder at work: weights loaded once, forward passes batched on a thread of their own."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import structlog
import torch
from torch import nn

from servicekit.batching import Batcher
from servicekit.checkpoint import CheckpointError
from servicekit.errors import Unavailable
from services.vision import metrics
from services.vision.checkpoint import Checkpoint, Prepared

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Forward:
    """One picture's part of a forward pass: [tokens, hidden] on the CPU, and how long the pass took."""

    embedding: torch.Tensor
    seconds: float


class Encoder:
    """Pixels to embeddings.

    max_batch, max_patches: what one forward pass may hold; a picture that is larger by itself goes alone.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        dtype: torch.dtype,
        max_batch: int,
        max_patches: int = 32_768,
    ):
        self.checkpoint = checkpoint
        self.device = device
        self.dtype = dtype
        self._model: nn.Module | None = None
        self._loading: asyncio.Task[nn.Module] | None = None
        self._batcher = Batcher(self._run, max_batch, lambda prepared: prepared.patches, max_patches)
        self._thread = ThreadPoolExecutor(1, "vision-forward")

    @property
    def loaded(self) -> bool:
        """True once the weights are in memory."""
        return self._model is not None

    async def load(self) -> nn.Module:
        """The model. Concurrent callers share one load; after a failed one the next call tries again."""
        if self._model is not None:
            return self._model
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())
        return await asyncio.shield(self._loading)

    async def encode(self, prepared: Prepared) -> Forward:
        """Embeds one picture in a forward pass shared with whoever else waits."""
        await self.load()
        return await self._batcher.submit(prepared)

    async def try_out(self, prepared: Prepared) -> None:
        """Loads the model and embeds one picture that no metric counts."""
        model = await self.load()
        [embedding] = await self._in_thread(self._forward, model, [prepared])
        if not embedding.isfinite().all():
            raise CheckpointError(
                f"{self.checkpoint.folder} gives embeddings that are not finite in {self.dtype}"
            )

    def busy_seconds(self) -> float:
        """How long the current forward pass has been running."""
        return self._batcher.busy_seconds()

    async def close(self) -> None:
        """Stops after the forward pass that is running."""
        if self._loading is not None:
            self._loading.cancel()
        await self._batcher.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> nn.Module:
        started = time.perf_counter()
        log.info(
            f"Loading AutoGLM vision encoder {self.checkpoint.fingerprint} from {self.checkpoint.folder}"
        )
        try:
            self._model = await self._in_thread(self.checkpoint.load, self.device, self.dtype)
        except CheckpointError as error:
            log.error("vision encoder not loaded", error=str(error))
            raise Unavailable("MODEL_UNAVAILABLE", "The vision encoder could not be loaded.") from error
        log.info(f"vision encoder on {self.device}", dtype=str(self.dtype).removeprefix("torch."))
        log.info(f"vision encoder loaded in {time.perf_counter() - started:.2f} s")
        return self._model

    async def _run(self, batch: list[Prepared]) -> list[Forward]:
        model = await self.load()
        started = time.perf_counter()
        embeddings = await self._in_thread(self._forward, model, batch)
        seconds = time.perf_counter() - started
        metrics.ENCODES.inc(len(batch))
        metrics.BATCH_PICTURES.observe(len(batch))
        metrics.PATCHES.inc(sum(prepared.patches for prepared in batch))
        metrics.FORWARD_SECONDS.observe(seconds)
        return [Forward(embedding, seconds) for embedding in embeddings]

    async def _in_thread(self, function: Callable[..., Result], *args: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def _forward(self, model: nn.Module, batch: list[Prepared]) -> list[torch.Tensor]:
        return self.checkpoint.embed(model, batch, self.device, self.dtype)
