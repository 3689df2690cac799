"""The services as the gateway sees them: the llm's stub, speech, and everyone's health."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Self

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from autoglm.llm.v1 import llm_pb2, llm_pb2_grpc
from gateway.settings import GatewaySettings
from gateway.speech import SpeechClient
from servicekit.breaker import Breaker
from servicekit.channel import open_channel
from servicekit.errors import ServiceError, Unavailable, from_rpc_error

HEALTH_TIMEOUT_S = 1.0
MODEL_TIMEOUT_S = 5.0
RETRY_PAUSE_S = 0.1
HEALTH_NAMES = {
    "llm": "autoglm.llm.v1.LLMService",
    "vision": "autoglm.vision.v1.VisionService",
    "speech": "autoglm.speech.v1.SpeechService",
}

log = structlog.get_logger("clients")


@dataclass(frozen=True)
class Model:
    """What the llm service holds."""

    name: str
    max_context_tokens: int


class LLMClient:
    """Asks the llm service; tries again only where nothing has been said yet."""

    def __init__(self, channel: grpc.aio.Channel, settings: GatewaySettings):
        self._stub = llm_pb2_grpc.LLMServiceStub(channel)
        self._timeout_s, self._retries = settings.request_timeout_s, settings.retries
        self._breaker = Breaker("llm")
        self._model: Model | None = None

    async def model(self, *, fresh: bool = False) -> Model:
        """The served model; asked once, and again when `fresh`. Raises ServiceError."""
        if self._model is None or fresh:
            with self._breaker.guard():
                try:
                    answer = await self._stub.GetModel(llm_pb2.GetModelRequest(), timeout=MODEL_TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    raise self._named(error) from error
            self._model = Model(answer.model.name, answer.max_context_tokens)
        return self._model

    async def generate(
        self, request: llm_pb2.GenerateRequest
    ) -> AsyncGenerator[llm_pb2.GenerateResponse, None]:
        """Deltas, then one finish; closing it early cancels the call. Raises ServiceError."""
        deadline = time.monotonic() + self._timeout_s
        with self._breaker.guard() as answered:
            for retries_left in range(self._retries, -1, -1):
                call = self._stub.Generate(request, timeout=deadline - time.monotonic())
                said_something = False
                try:
                    async for response in call:
                        said_something = True
                        answered()
                        yield response
                    return
                except grpc.aio.AioRpcError as error:
                    known = self._named(error)
                    if said_something or not retries_left or known.reason != "LLM_UNAVAILABLE":
                        raise known from error
                    log.warning("the llm service cannot be reached; trying again", left=retries_left)
                    await asyncio.sleep(RETRY_PAUSE_S * (0.5 + random.random()))
                finally:
                    call.cancel()

    def _named(self, error: grpc.aio.AioRpcError) -> ServiceError:
        """The service's error; where it did not get to say anything, the service is named."""
        known = from_rpc_error(error)
        if isinstance(known, Unavailable) and known.reason == "UNAVAILABLE":
            return self._breaker.unavailable()
        return known


class HealthClient:
    """Asks the services' health ports."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]):
        self._stubs = {name: health_pb2_grpc.HealthStub(channel) for name, channel in channels.items()}

    async def ready(self) -> dict[str, bool]:
        """Which services are ready, all asked at the same time."""
        names = list(self._stubs)
        return dict(zip(names, await asyncio.gather(*map(self._ready, names)), strict=True))

    async def _ready(self, name: str) -> bool:
        request = health_pb2.HealthCheckRequest(service=HEALTH_NAMES[name])
        try:
            response = await self._stubs[name].Check(request, timeout=HEALTH_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


class Clients:
    """Everything the app reaches, opened and closed together."""

    def __init__(self, settings: GatewaySettings):
        targets = {
            "llm": settings.llm_health_target,
            "vision": settings.vision_health_target,
            "speech": settings.speech_health_target,
        }
        self._llm_channel = open_channel(settings.llm_target, tls=settings.tls)
        speech = settings.speech_target
        self._speech_channel = open_channel(speech, tls=settings.tls) if speech else None
        self._health_channels = {name: open_channel(target) for name, target in targets.items() if target}
        self.llm = LLMClient(self._llm_channel, settings)
        self.speech = SpeechClient(self._speech_channel, settings.request_timeout_s)
        self.health = HealthClient(self._health_channels)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in (self._llm_channel, self._speech_channel, *self._health_channels.values()):
            if channel:
                await channel.close()
