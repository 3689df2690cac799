"""A tiny random recogniser, the bundled one, and clips."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch

from services.speech.checkpoint import Checkpoint
from services.speech.recogniser import Recogniser
from services.speech.runtime import Runtime
from services.speech.voice import VoiceNetwork
from tests.bundles import write_speech_bundle

BUNDLED = Path(__file__).parents[2] / "models" / "autoglm-mobile-tiny"
CPU = torch.device("cpu")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_speech_bundle(tmp_path).parent


@pytest.fixture
def recogniser(bundle: Path) -> Recogniser:
    return Checkpoint.open(bundle).load(CPU, torch.float32)


@pytest.fixture
async def runtime(bundle: Path) -> AsyncIterator[Runtime]:
    runtime = Runtime(Checkpoint.open(bundle), CPU, torch.float32, max_batch=4, beams=2)
    yield runtime
    await runtime.close()


@pytest.fixture(scope="session")
def bundled() -> Recogniser:
    return Checkpoint.open(BUNDLED).load(CPU, torch.float32)


@pytest.fixture(scope="session")
def voices() -> VoiceNetwork:
    return VoiceNetwork()


@pytest.fixture(scope="session")
def spoken() -> bytes:
    """我要那个红色的苹果在哪儿, as ogg/opus."""
    return (Path(__file__).parent / "clips" / "apple.opus").read_bytes()
