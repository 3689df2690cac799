"""The llm service beside a real vision service, or beside one that says what a test wants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch

from autoglm.llm.v1 import llm_pb2_grpc
from autoglm.speech.v1 import speech_pb2_grpc
from autoglm.vision.v1 import vision_pb2_grpc
from servicekit.server import running
from services.llm.service import create_service
from services.llm.settings import LLMSettings
from services.speech.audio import AudioFormat, read_clip
from tests.bundles import write_llm_bundle, write_speech_bundle, write_vision_bundle
from tests.contract.llm_client import FREE, LLM, StartLLM, start_vision
from tests.contract.scripted_vision import HIDDEN, TOKENS, ScriptedVision
from tests.contract.services import Targets, all_services
from tests.contract.speech_streams import RATE, SPOKEN, StartSpeech, Stub, connected


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_llm_bundle(folder)
    write_speech_bundle(folder)
    return write_vision_bundle(folder).parent


@pytest.fixture
def start_llm(tiny_bundle: Path) -> StartLLM:
    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[LLM]:
        defaults = {**FREE, "model": tiny_bundle, "vision_target": "", "kv_cache_bytes": 4 << 20}
        configured = LLMSettings(**{**defaults, **settings})
        async with (
            running(await create_service(configured), configured) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            yield LLM(server, llm_pb2_grpc.LLMServiceStub(channel))

    return start


@pytest.fixture
async def llm(start_llm: StartLLM, tiny_bundle: Path) -> AsyncIterator[LLM]:
    """Beside a real vision service."""
    async with (
        start_vision(tiny_bundle) as vision,
        start_llm(vision_target=f"127.0.0.1:{vision.port}") as llm,
    ):
        yield llm


@pytest.fixture
async def vision() -> AsyncIterator[ScriptedVision]:
    scripted = ScriptedVision(torch.randn(TOKENS, HIDDEN))
    server = grpc.aio.server()
    vision_pb2_grpc.add_VisionServiceServicer_to_server(scripted, server)
    scripted.port = server.add_insecure_port("127.0.0.1:0")
    scripted.stop = server.stop
    await server.start()
    yield scripted
    await server.stop(None)


@pytest.fixture
async def scripted_llm(start_llm: StartLLM, vision: ScriptedVision) -> AsyncIterator[LLM]:
    async with start_llm(vision_target=f"127.0.0.1:{vision.port}") as llm:
        yield llm


@pytest.fixture
async def targets(tiny_bundle: Path) -> AsyncIterator[Targets]:
    """All services around the tiny bundle."""
    async with all_services(tiny_bundle) as targets:
        yield targets


@pytest.fixture(scope="module")
def pcm() -> bytes:
    """Three seconds of a real voice, and a second of silence."""
    samples = read_clip(SPOKEN.read_bytes(), AudioFormat(), max_seconds=60).samples
    return (samples[: 3 * RATE] * 32_767).astype("<i2").tobytes() + bytes(2 * RATE)


@pytest.fixture
def start_speech(tmp_path: Path) -> StartSpeech:
    bundle = write_speech_bundle(tmp_path).parent

    @asynccontextmanager
    async def start(**values: Any) -> AsyncIterator[Stub]:
        async with connected(bundle, **values) as channel:
            yield speech_pb2_grpc.SpeechServiceStub(channel)

    return start


@pytest.fixture
async def speech(start_speech: StartSpeech) -> AsyncIterator[Stub]:
    async with start_speech() as stub:
        yield stub
