"""A client in another language, with nothing of ours but the .proto files."""

import re
from pathlib import Path

import pytest

from services.vision.model.native import VisionConfig
from tests.contract.node import install, run_node
from tests.contract.services import Targets

TINY = VisionConfig.tiny()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("node"))


async def transcript(folder: Path, targets: Targets) -> dict[str, list[str]]:
    """Lines of the client by their topic."""
    where = ["--vision", targets.vision, "--speech", targets.speech, "--llm", targets.llm]
    lines: dict[str, list[str]] = {}
    for line in (await run_node(folder, "examples/node/main.mjs", *where)).splitlines():
        topic, _, said = line.partition(" ")
        lines.setdefault(topic, []).append(said.strip())
    return lines


async def test_a_node_client_encodes_generates_streams_cancels_and_reads_errors(
    folder: Path, targets: Targets
) -> None:
    said = await transcript(folder, targets)

    size = TINY.tokens * TINY.hidden_size * 4
    assert said["encode"] == [f"{TINY.tokens} x {TINY.hidden_size} DATA_TYPE_FLOAT32, {size} bytes"]
    assert re.fullmatch(r"tiny@[0-9a-f]{16} on cpu, \d+ wide", said["vision"][0])
    assert said["llm"][0].startswith("tiny@")

    [answer] = said["generate"]
    deltas = re.search(r" in (\d+) deltas, FINISH_REASON_(STOP|LENGTH)$", answer)
    assert deltas is not None
    assert int(deltas[1]) > 1
    assert said["receipt"][0].startswith(f"MEDIA_SOURCE_CALLER, {TINY.tokens} tokens")
    weights = [float(weight) for weight in re.findall(r"\d\.\d+", said["gate"][0])]
    assert sum(weights) == pytest.approx(1, abs=0.002)
    assert 0 < weights[1] < 1

    assert said["cancel"] == ["CANCELLED after 1 event"]
    assert said["refused"] == [
        "INVALID_ARGUMENT IMAGE_UNREADABLE vision.autoglm image",
        "INVALID_ARGUMENT IMAGE_UNREADABLE llm.autoglm messages[0].parts[0]",
        "FAILED_PRECONDITION EMBEDDING_FINGERPRINT_MISMATCH llm.autoglm messages[0].parts[0]",
        "INVALID_ARGUMENT AUDIO_UNREADABLE speech.autoglm audio",
    ]


def test_the_lock_file_pins_every_package_by_hash_and_names_no_registry() -> None:
    lock = (Path(__file__).parents[2] / "examples/node/package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert lock.count('"integrity": "sha512-') == lock.count('"node_modules/')


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_node_the_client_is_skipped_and_ci_fails(
    ci: str, outcome: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="node and npm are not installed"):
        install(tmp_path)
