"""The LLMService of the contract: intake and generation behind its messages."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

import grpc
import torch

from autoglm.llm.v1 import llm_pb2, llm_pb2_grpc
from autoglm.tensor.v1 import tensor_pb2
from servicekit.checkpoint import CheckpointError
from servicekit.errors import InvalidArgument, ResourceExhausted
from servicekit.server import Service
from servicekit.settings import SettingsError
from servicekit.telemetry import deadline
from servicekit.tensors import data_type_of
from services.llm import messages
from services.llm.backbone import LazyBackbone
from services.llm.chat.format import ChatFormat
from services.llm.chat.positions import positions_of
from services.llm.detokenizer import Delta, Detokenizer
from services.llm.engine.engine import QueueFull, RequestTooLong
from services.llm.engine.request import Request, SamplingParams
from services.llm.generation import Generator
from services.llm.intake import Intake, Prepared
from services.llm.media.connect import connect
from services.llm.media.contract import MODALITIES
from services.llm.media.library import MediaLibrary
from services.llm.metrics import start_phase
from services.llm.model.fusion import MessageGate, Modality
from services.llm.prompt import Message, Role, Text
from services.llm.settings import LLMSettings

NAME = llm_pb2.DESCRIPTOR.services_by_name["LLMService"].full_name
RETRY_AFTER_S = 1.0
Context = grpc.aio.ServicerContext[Any, Any]


class LLMServicer(llm_pb2_grpc.LLMServiceServicer):
    """Answers the RPCs."""

    def __init__(self, backbone: LazyBackbone, library: MediaLibrary, settings: LLMSettings):
        self._backbone, self._library, self._settings = backbone, library, settings
        self._intake = Intake(backbone, library, settings)

    async def GetModel(self, request: llm_pb2.GetModelRequest, context: Context) -> llm_pb2.GetModelResponse:
        """Describes the backbone without loading it."""
        bundle = self._backbone.bundle
        await self._library.learn_fingerprints()
        return llm_pb2.GetModelResponse(
            model=tensor_pb2.ModelInfo(
                name=bundle.name,
                fingerprint=bundle.fingerprint,
                hidden_size=bundle.config.hidden_size,
                data_type=data_type_of(self._backbone.dtype),
                device=str(self._backbone.device),
                loaded=self._backbone.generator is not None,
                parameter_count=bundle.parameter_count,
            ),
            max_context_tokens=self._intake.max_context,
            modalities=[MODALITIES[m] for m in (Modality.TEXT, *self._library.modalities)],
            encoder_fingerprints=self._library.fingerprints,
            gated=bundle.config.gated,
        )

    async def Generate(
        self, request: llm_pb2.GenerateRequest, context: Context
    ) -> AsyncIterator[llm_pb2.GenerateResponse]:
        """Answers a conversation."""
        arrival = time.monotonic()
        sampling = messages.read_sampling(request.sampling, self._backbone.sampling)
        turns = messages.read_turns(request.messages, self._intake.max_context)
        generator = await self._backbone.load()
        async with AsyncExitStack() as stack:
            try:
                stack.enter_context(generator.place())
            except QueueFull as error:
                raise ResourceExhausted(
                    "QUEUE_FULL", "Too many requests are waiting.", retry_after_s=RETRY_AFTER_S
                ) from error
            async with self._intake.slot(turns):
                prepared = await self._intake.prepare(turns, messages.read_thinking(request))
                sampling = self._intake.fit(sampling, prepared.prompt)
                embeddings_TD, gates = await self._intake.stage(generator, prepared, stack)
            prompt, bundle, chat = prepared.prompt, self._backbone.bundle, self._backbone.chat
            positions, position_delta = positions_of(prompt, bundle.config)
            engine_request = Request(
                request_id=uuid.uuid4().hex,  # the caller's may come twice
                token_ids=prompt.token_ids,
                sampling=sampling,
                embeddings_TD=embeddings_TD,
                # Published models read their media causally, so that any step may cut them.
                spans=tuple((span.start, span.end) for span in prompt.spans if bundle.native),
                positions=positions,
                position_delta=position_delta,
                salts=prompt.salts,
                cache_salt=request.cache_salt,
                priority=request.priority,
                arrival=arrival,
                deadline=deadline.get(),
            )
            detokenizer = Detokenizer(chat, stop=request.sampling.stop, opening=prompt.opening)
            answer = _answer(generator, engine_request, detokenizer, chat, prepared, gates)
            async for response in await stack.enter_async_context(aclosing(answer)):
                yield response

    async def Tokenize(self, request: llm_pb2.TokenizeRequest, context: Context) -> llm_pb2.TokenizeResponse:
        """Lists the tokens of a conversation."""
        turns = messages.read_turns(request.messages, self._intake.max_context)
        async with self._intake.slot(turns):
            prepared = await self._intake.prepare(turns, messages.read_thinking(request))
        return llm_pb2.TokenizeResponse(token_ids=prepared.prompt.token_ids)

    async def Detokenize(
        self, request: llm_pb2.DetokenizeRequest, context: Context
    ) -> llm_pb2.DetokenizeResponse:
        """Turns tokens back into text; special tokens have none."""
        chat, most = self._backbone.chat, self._intake.max_context
        if len(request.token_ids) > most:
            raise InvalidArgument(
                "PARAMETER_OUT_OF_RANGE", f"At most {most} tokens are taken.", field="token_ids"
            )
        for index, token_id in enumerate(request.token_ids):
            if not 0 <= token_id < chat.vocab_size:
                raise InvalidArgument(
                    "PARAMETER_OUT_OF_RANGE", f"There is no token {token_id}.", field=f"token_ids[{index}]"
                )
        return llm_pb2.DetokenizeResponse(text=chat.decode(request.token_ids))

    async def warm_up(self) -> None:
        """Answers a greeting; when loading is left to first use, only lays it out."""
        chat = self._backbone.chat
        prompt = chat.lay_out([Message(Role.USER, (Text("你好"),))])
        if self._settings.lazy_load:
            return
        generator = await self._backbone.load()
        request = Request(uuid.uuid4().hex, prompt.token_ids, SamplingParams(max_tokens=4))
        with start_phase("warm_up"):
            async for _ in generator.stream(request, Detokenizer(chat)):
                pass

    def healthy(self) -> bool:
        """False while the engine has work and finishes no step."""
        generator = self._backbone.generator
        return generator is None or generator.silent_seconds < self._settings.stall_seconds


async def _answer(
    generator: Generator,
    request: Request,
    detokenizer: Detokenizer,
    chat: ChatFormat,
    prepared: Prepared,
    gates: Sequence[MessageGate],
) -> AsyncGenerator[llm_pb2.GenerateResponse, None]:
    """The answer's messages as they come."""
    receipt = llm_pb2.Receipt(
        media=[embedded.receipt for embedded in prepared.media],
        tokenize_ms=prepared.tokenize_seconds * 1e3,
        media_ms=prepared.media_seconds * 1e3,
    )
    try:
        async with aclosing(generator.stream(request, detokenizer)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    yield messages.write_delta(event, chat)
                else:
                    yield messages.write_finish(event, len(request.token_ids), gates, receipt)
    except RequestTooLong as error:
        raise InvalidArgument("CONTEXT_TOO_LONG", f"{error}.", field="messages") from error


async def create_service(settings: LLMSettings) -> Service:
    """The service as the boot function takes it; the checkpoint is validated here."""
    if settings.num_threads:
        torch.set_num_threads(settings.num_threads)
    try:
        backbone = await asyncio.to_thread(LazyBackbone, settings)
    except CheckpointError as error:
        raise SettingsError(f"llm.model: {error}") from error
    library = connect(settings, backbone.bundle)
    servicer = LLMServicer(backbone, library, settings)

    async def close() -> None:
        await backbone.close()
        await library.close()

    return Service(
        name=NAME,
        register=lambda server: llm_pb2_grpc.add_LLMServiceServicer_to_server(servicer, server),
        warm_up=servicer.warm_up,
        close=close,
        healthy=servicer.healthy,
    )
