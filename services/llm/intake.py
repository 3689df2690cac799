"""A conversation on its way to the engine: media fetched, laid out in tokens, staged within bounds."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch

from servicekit.errors import InvalidArgument
from services.llm.backbone import LazyBackbone
from services.llm.budget import ByteBudget
from services.llm.chat.format import ChatError
from services.llm.engine.request import SamplingParams
from services.llm.generation import Generator, NotFiniteError
from services.llm.media.library import Embedded, MediaLibrary
from services.llm.messages import Turn
from services.llm.model.fusion import MessageGate
from services.llm.prompt import Message, Prompt, Text
from services.llm.settings import LLMSettings

LONG_BYTES = 65_536  # of text: more is laid out beside the event loop


@dataclass(frozen=True)
class Prepared:
    """A conversation in tokens, its media at hand."""

    prompt: Prompt
    media: Sequence[Embedded]
    media_seconds: float
    tokenize_seconds: float


class Intake:
    """Takes conversations in, no more than memory and context allow."""

    def __init__(self, backbone: LazyBackbone, library: MediaLibrary, settings: LLMSettings):
        self._backbone, self._library = backbone, library
        self._wanted_context = settings.max_context_tokens
        self._media_slots = asyncio.Semaphore(settings.media_concurrency)
        self._staging = ByteBudget(settings.staged_bytes)

    @property
    def max_context(self) -> int:
        """Tokens that a prompt and its answer may take together."""
        wanted = self._wanted_context or self._backbone.bundle.config.max_position_embeddings
        generator = self._backbone.generator
        return wanted if generator is None else min(wanted, generator.max_tokens)

    def slot(self, turns: Sequence[Turn]) -> AbstractAsyncContextManager[object]:
        """Bounds the embeddings that are fetched but not yet staged; text never waits for one."""
        return self._media_slots if any(turn.media for turn in turns) else nullcontext()

    async def prepare(self, turns: Sequence[Turn], enable_thinking: bool | None) -> Prepared:
        """Fetches the media and lays the conversation out, unless it is surely too long."""
        written = sum(len(p.text.encode()) for turn in turns for p in turn.parts if isinstance(p, Text))
        self._refuse_hopeless(len(turns) + written // self._backbone.chat.longest_token)
        started = time.monotonic()
        contents = [part for turn in turns for part in turn.media]
        media = await self._library.fetch(contents)
        fetched = time.monotonic()
        placed = iter(media)
        conversation = [
            Message(turn.role, tuple(p if isinstance(p, Text) else next(placed).part for p in turn.parts))
            for turn in turns
        ]
        lay_out = partial(self._backbone.chat.lay_out, conversation, enable_thinking=enable_thinking)
        try:
            prompt = lay_out() if written < LONG_BYTES else await asyncio.to_thread(lay_out)
        except ChatError as error:
            raise InvalidArgument("CONVERSATION_UNSUPPORTED", str(error), field="messages") from error
        return Prepared(prompt, media, fetched - started, time.monotonic() - fetched)

    def fit(self, sampling: SamplingParams, prompt: Prompt) -> SamplingParams:
        """Cuts the answer to what is left of the context."""
        left = self.max_context - len(prompt.token_ids)
        if left < 1:
            raise InvalidArgument(
                "CONTEXT_TOO_LONG",
                f"The conversation takes {len(prompt.token_ids)} of {self.max_context} tokens.",
                field="messages",
            )
        return replace(sampling, max_tokens=min(sampling.max_tokens, left))

    def _refuse_hopeless(self, tokens: int) -> None:
        """Before tokens are counted, which takes seconds for megabytes."""
        if tokens > self.max_context:
            raise InvalidArgument(
                "CONTEXT_TOO_LONG",
                f"The conversation takes at least {tokens} of {self.max_context} tokens.",
                field="messages",
            )

    async def stage(
        self, generator: Generator, prepared: Prepared, stack: AsyncExitStack
    ) -> tuple[torch.Tensor | None, list[MessageGate]]:
        """The prompt embedded, when it holds media; its bytes are held until the stack unwinds."""
        size = generator.staged_bytes(prepared.prompt)
        if size > self._staging.capacity:
            raise InvalidArgument(
                "CONTEXT_TOO_LONG", "The media take more memory than there is.", field="messages"
            )
        await stack.enter_async_context(self._staging.hold(size))
        spans_TD = [one.embedding_TD for one in prepared.media if not isinstance(one.part, Text)]
        try:
            return await generator.embed(prepared.prompt, spans_TD)
        except NotFiniteError as error:
            raise InvalidArgument(
                "EMBEDDING_NOT_FINITE", "An embedding is too large to be weighed.", field="messages"
            ) from error
