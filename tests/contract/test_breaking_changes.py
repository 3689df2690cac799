"""A proto that would break a released client is caught before it is merged; one that only grew passes."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BUF = Path(sys.executable).with_name("buf")
LLM = "protos/autoglm/llm/v1/llm.proto"
VISION = "protos/autoglm/vision/v1/vision.proto"


def check_command() -> list[str]:
    """The line of `make check` that guards the contract."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    [line] = [line for line in recipe[1].splitlines() if "buf breaking" in line]
    return line.split()[1:]


def breaks(folder: Path) -> str:
    """What buf finds broken in a working tree; nothing when all released clients are safe."""
    done = subprocess.run([BUF, *check_command()], cwd=folder, capture_output=True, text=True, timeout=30)
    assert done.returncode in (0, 100), done.stderr
    assert bool(done.stdout) is (done.returncode == 100)
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the protos to spoil."""
    shutil.copytree(REPOSITORY / "protos", tmp_path / "protos", ignore=shutil.ignore_patterns("gen"))
    shutil.copy(REPOSITORY / "buf.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def edit(tree: Path) -> Callable[[str, str, str], None]:
    def replace(file: str, old: str, new: str) -> None:
        path = tree / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")

    return replace


Edit = Callable[[str, str, str], None]


def test_the_contract_of_today_serves_every_released_client() -> None:
    assert breaks(REPOSITORY) == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "found"),
    [
        (LLM, "  int32 cached_tokens = 2;\n", "", 'field "2" with name "cached_tokens"'),
        (
            LLM,
            "int32 cached_tokens = 2;",
            "string cached_tokens = 2;",
            'changed type from "int32" to "string"',
        ),
        (LLM, "int32 cached_tokens = 2;", "int32 cached_tokens = 9;", 'field "2" with name "cached_tokens"'),
        (LLM, "int32 cached_tokens = 2;", "int32 reused_tokens = 2;", 'changed name from "cached_tokens"'),
        (LLM, "optional float temperature", "float temperature", "cardinality"),
        (LLM, "  FINISH_REASON_LENGTH = 2;\n", "", 'enum value "2" on enum "FinishReason"'),
        (LLM, "rpc Detokenize(", "rpc Decode(", 'RPC "Detokenize" on service "LLMService"'),
        (VISION, "returns (stream EncodeImageResponse)", "returns (EncodeImageResponse)", "server streaming"),
        (VISION, "package autoglm.vision.v1;", "package autoglm.vision.v2;", "package"),
    ],
    ids=[
        "field removed",
        "type changed",
        "field renumbered",
        "field renamed",
        "unset told from zero no more",
        "enum value removed",
        "RPC renamed",
        "stream made single",
        "package renamed",
    ],
)
def test_a_planted_break_is_caught(tree: Path, edit: Edit, file: str, old: str, new: str, found: str) -> None:
    edit(file, old, new)
    assert found in breaks(tree)


def test_a_deleted_file_is_caught(tree: Path) -> None:
    (tree / "protos/autoglm/speech/v1/speech.proto").unlink()
    assert 'file "autoglm/speech/v1/speech.proto" was deleted' in breaks(tree)


def test_a_contract_that_only_grew_passes(tree: Path, edit: Edit) -> None:
    edit(LLM, "  int32 cached_tokens = 2;\n", "  int32 cached_tokens = 2;\n  int32 drafted_tokens = 5;\n")
    edit(LLM, "  FINISH_REASON_LENGTH = 2;\n", "  FINISH_REASON_LENGTH = 2;\n  FINISH_REASON_TOOL = 3;\n")
    edit(LLM, "    Finish finish = 2;\n", "    Finish finish = 2;\n    Usage progress = 3;\n")
    edit(
        LLM, "  // Turns tokens back", "  rpc Count(TokenizeRequest) returns (Usage);\n  // Turns tokens back"
    )
    new = tree / "protos/autoglm/video/v1/video.proto"
    new.parent.mkdir(parents=True)
    new.write_text('syntax = "proto3";\npackage autoglm.video.v1;\nmessage Clip {}\n', encoding="utf-8")
    assert breaks(tree) == ""
