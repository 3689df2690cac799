"""The encoder at work: weights loaded once, forward passes batched on a thread of their own."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import structlog
import torch

from servicekit.errors import Unavailable
from services.vision import metrics
from services.vision.batching import Batcher
from services.vision.checkpoint import Checkpoint, CheckpointError
from services.vision.model.native import VisionEncoder, normalise

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Forward:
    """One picture's part of a forward pass: [tokens, hidden] on the CPU, and how long the pass took."""

    embedding: torch.Tensor
    seconds: float


class Encoder:
    """Pixels to embeddings."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, max_batch: int):
        self.checkpoint = checkpoint
        self.device = device
        self.dtype = dtype
        self._model: VisionEncoder | None = None
        self._loading: asyncio.Task[VisionEncoder] | None = None
        self._batcher = Batcher(self._run, max_batch)
        self._thread = ThreadPoolExecutor(1, "vision-forward")

    @property
    def loaded(self) -> bool:
        """True once the weights are in memory."""
        return self._model is not None

    async def load(self) -> VisionEncoder:
        """The model. Concurrent callers share one load; after a failed one the next call tries again."""
        if self._model is not None:
            return self._model
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())
        return await asyncio.shield(self._loading)

    async def encode(self, pixels: np.ndarray) -> Forward:
        """Embeds one picture, uint8 [side, side, 3], in a forward pass shared with whoever else waits."""
        await self.load()
        return await self._batcher.submit(pixels)

    async def try_out(self, pixels: np.ndarray) -> None:
        """Loads the model and embeds one picture that no metric counts."""
        model = await self.load()
        embeddings = await self._in_thread(self._forward, model, [pixels])
        if not embeddings.isfinite().all():
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

    async def _load(self) -> VisionEncoder:
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

    async def _run(self, batch: list[np.ndarray]) -> list[Forward]:
        model = await self.load()
        started = time.perf_counter()
        embeddings = await self._in_thread(self._forward, model, batch)
        seconds = time.perf_counter() - started
        metrics.ENCODES.inc(len(batch))
        metrics.BATCH_PICTURES.observe(len(batch))
        metrics.FORWARD_SECONDS.observe(seconds)
        # Rows are copied, or one cached row would keep its whole batch alive.
        return [Forward(row.clone(), seconds) for row in embeddings]

    async def _in_thread(self, function: Callable[..., Result], *args: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    @torch.inference_mode()
    def _forward(self, model: VisionEncoder, batch: list[np.ndarray]) -> torch.Tensor:
        pixels_BHW3 = torch.from_numpy(np.stack(batch)).to(self.device)
        return model(normalise(pixels_BHW3).to(self.dtype)).cpu()  # type: ignore[no-any-return]
