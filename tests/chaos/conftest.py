"""A server under `autoglm serve` that remembers nothing, so that each picture needs the encoder."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.server import Server, serving
from tests.bundles import write_llm_bundle, write_vision_bundle
from tests.chaos.mix import Disturb, Mix, Tally
from tests.chaos.report import HEAD, row, summary

FORGETFUL = {
    "AUTOGLM_LLM__EMBEDDING_CACHE_BYTES": "0",
    "AUTOGLM_VISION__CACHE_BYTES": "0",
    "AUTOGLM_GATEWAY__REQUEST_TIMEOUT_S": "25",
}
TALLIES = pytest.StashKey[list[Tally]]()

Endure = Callable[[str, Disturb], Awaitable[Tally]]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLIES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if tallies := config.stash[TALLIES]:
        for line in (HEAD, *map(row, tallies)):
            terminalreporter.write_line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    if tallies := config.stash[TALLIES]:
        print(summary(tallies))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_vision_bundle(folder)
    return write_llm_bundle(folder).parent


@pytest.fixture(scope="session")
def server(bundle: Path) -> Iterator[Server]:
    with serving(bundle, FORGETFUL) as server:
        yield server


@pytest.fixture
async def mix(server: Server) -> AsyncIterator[Mix]:
    async with Mix(server.url) as mix:
        yield mix


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Callable[[Tally], Tally]:
    """Adds a drill to the table."""

    def keep(tally: Tally) -> Tally:
        request.config.stash[TALLIES].append(tally)
        return tally

    return keep
