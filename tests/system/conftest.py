"""One real server for all: the bundled model, or a tiny random one where there is none.

It holds few places, so that a flood need not be large. No test may leave it changed.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from benchmarks.client import Client
from benchmarks.server import Server, serving
from cli.bundle import DEFAULT_MODEL
from tests.bundles import write_llm_bundle, write_speech_bundle, write_vision_bundle

PLACES = 64
TRAINED = Path(os.environ.get("AUTOGLM_LLM__MODEL", DEFAULT_MODEL))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (TRAINED / "llm" / "model.safetensors").is_file():
        return TRAINED
    folder = tmp_path_factory.mktemp("models")
    write_vision_bundle(folder)
    write_speech_bundle(folder)
    return write_llm_bundle(folder).parent.rename(folder / DEFAULT_MODEL.name)


@pytest.fixture(scope="session")
def shared_server(bundle: Path) -> Iterator[Server]:
    with serving(bundle, {"AUTOGLM_LLM__MAX_REQUESTS": str(PLACES)}) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """What it logs during a test is shown when the test fails."""
    start = shared_server.log.stat().st_size
    yield shared_server
    print(shared_server.log.read_bytes()[start:].decode(errors="replace"))


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url) as client:
        yield client


@pytest.fixture
def trained(bundle: Path) -> None:
    """For claims about what is said, and how much."""
    if bundle != TRAINED:
        pytest.skip("a random model rambles")
