"""From a laid-out prompt to a stream of text: fusion, the engine on its thread, the detokenizer.

Knows no protobuf. Everything here runs on the event loop, except where a thread is named.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from prometheus_client import REGISTRY

from services.llm import metrics
from services.llm.checkpoint import Backbone
from services.llm.detokenizer import Delta, Detokenizer
from services.llm.engine.engine import Engine, EngineConfig
from services.llm.engine.request import Event, Finished, FinishReason, Request, Token
from services.llm.metrics import EngineCollector
from services.llm.model.fusion import TEXT_ALONE, MessageGate, fuse
from services.llm.outflow import Outflow
from services.llm.prompt import Prompt


@dataclass(frozen=True)
class Finish:
    """How an answer ended, and what it took. Seconds count from the request's arrival."""

    reason: FinishReason
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    steps: int
    queue_seconds: float
    first_token_seconds: float
    total_seconds: float


class NotFiniteError(ValueError):
    """Embeddings that are no numbers once they are weighed; cached, they would spoil everybody's answers."""


class Generator:
    """A loaded backbone that answers."""

    def __init__(self, backbone: Backbone, config: EngineConfig, longest_hold: float = 0.0):
        """`longest_hold`: seconds, as `Outflow` takes them."""
        self._backbone = backbone
        self._engine = Engine(backbone.decoder, config, self._publish)
        self._loop = asyncio.get_running_loop()
        self._outflow = Outflow(longest_hold)
        self._collector = EngineCollector(lambda: self._engine.stats, self._engine.distributions)
        REGISTRY.register(self._collector)
        self._engine.start()

    @property
    def silent_seconds(self) -> float:
        """How long the engine has had work and not finished a step."""
        return self._engine.silent_seconds

    @property
    def max_tokens(self) -> int:
        """Longest prompt plus answer that the engine can hold."""
        return self._engine.max_tokens

    def place(self) -> AbstractContextManager[None]:
        """A place in the bounded queue; entering raises `QueueFull`."""
        return self._engine.place()

    def staged_bytes(self, prompt: Prompt) -> int:
        """Bytes that `embed` takes."""
        weight = self._backbone.decoder.embed_tokens.weight
        return len(prompt.token_ids) * weight.shape[1] * weight.itemsize if prompt.spans else 0

    async def embed(
        self, prompt: Prompt, media: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor | None, list[MessageGate]]:
        """Puts the media's embeddings into their spans and weighs them; text alone needs no embedding.

        Raises NotFiniteError.
        """
        if not prompt.spans:
            last = max((piece.message for piece in prompt.pieces), default=0)
            return None, [MessageGate(last, TEXT_ALONE)] if self._backbone.gate else []
        return await asyncio.to_thread(self._embed, prompt, media)

    async def stream(
        self, request: Request, detokenizer: Detokenizer
    ) -> AsyncGenerator[Delta | Finish, None]:
        """Deltas, then one `Finish`; leaving early cancels the request. Raises `RequestTooLong`."""
        self._engine.submit(request)
        box = self._outflow.open(request.request_id)
        first_token_at: float | None = None
        end: Finished | None = None
        try:
            while end is None:
                events = await box.take()
                tokens = [event for event in events if isinstance(event, Token)]
                end = next((event for event in events if isinstance(event, Finished)), None)
                if tokens:
                    first_token_at = first_token_at or time.monotonic()
                for delta in detokenizer.read(tokens):
                    yield delta
                if detokenizer.stopped and end is None:
                    self._engine.cancel(request.request_id)
            for delta in detokenizer.flush():
                yield delta
            yield _finish(request, detokenizer, end, first_token_at)
        finally:
            self._outflow.close(request.request_id)
            if end is None:
                self._engine.cancel(request.request_id)

    async def close(self) -> None:
        """Stops the engine; what is still under way ends as cancelled."""
        await asyncio.to_thread(self._engine.stop)
        REGISTRY.unregister(self._collector)

    @torch.inference_mode()
    def _embed(self, prompt: Prompt, media: Sequence[torch.Tensor]) -> tuple[torch.Tensor, list[MessageGate]]:
        decoder = self._backbone.decoder
        device = decoder.embed_tokens.weight.device
        x_TD = decoder.embed(torch.tensor(prompt.token_ids, device=device))
        for span, embedding_TD in zip(prompt.spans, media, strict=True):
            x_TD[span.start : span.end] = embedding_TD.to(x_TD)
        gates = fuse(self._backbone.gate, x_TD, prompt.pieces)
        if not x_TD.isfinite().all():
            raise NotFiniteError
        return x_TD, gates

    def _publish(self, events: list[Event]) -> None:
        """On the engine's thread: one hand-over per step, whatever the batch."""
        self._loop.call_soon_threadsafe(self._outflow.put, events)


def _finish(
    request: Request, detokenizer: Detokenizer, end: Finished, first_token_at: float | None
) -> Finish:
    now = time.monotonic()
    # Tokens computed after a stop string, before the engine heard of it, are not part of the answer.
    tokens = detokenizer.token_count if detokenizer.stopped else end.completion_tokens
    if first_token_at is not None:
        metrics.FIRST_TOKEN_SECONDS.observe(first_token_at - request.arrival)
        if tokens > 1:
            metrics.TOKEN_SECONDS.observe((now - first_token_at) / (tokens - 1))
    return Finish(
        reason=FinishReason.STOP if detokenizer.stopped else end.reason,
        cached_tokens=end.cached_tokens,
        completion_tokens=tokens,
        reasoning_tokens=detokenizer.reasoning_tokens,
        steps=end.steps,
        queue_seconds=end.queue_seconds,
        first_token_seconds=(first_token_at or now) - request.arrival,
        total_seconds=now - request.arrival,
    )
