"""docs/grpc.md is true: its examples run, its tables are what the code does, no call is left out."""

import asyncio
import sys
from pathlib import Path

import pytest

from servicekit.settings import ServerSettings
from services.llm import messages
from services.llm.engine.request import RANGES, SamplingParams
from services.llm.settings import LLMSettings
from services.speech.settings import SpeechSettings
from services.vision.settings import VisionSettings
from tests.contract.grpc_docs import examples, section, table, titles
from tests.contract.node import REPOSITORY, install, run_node
from tests.contract.reasons import OF_THE_LLM, raised, sources
from tests.contract.released import methods
from tests.contract.services import Targets

MIB = 1 << 20
SETTINGS: dict[str, type[ServerSettings]] = {
    "vision": VisionSettings,
    "speech": SpeechSettings,
    "llm": LLMSettings,
}
SHARED = [path for path in sources("servicekit") if path.name not in OF_THE_LLM]
THROUGH_THE_LLM = [path for path in sources("servicekit") if path.name in OF_THE_LLM]


def script(language: str, targets: Targets) -> str:
    """All examples of a language, with the ports of these services."""
    text = "\n".join(examples(language))
    for port, target in {50051: targets.vision, 50052: targets.speech, 50053: targets.llm}.items():
        text = text.replace(f"127.0.0.1:{port}", target)
    return text


def check_output(output: str) -> None:
    assert "IMAGE_UNREADABLE" in output
    assert "EncodeAudio: " in output  # a second of silence has no embedding
    assert "FINISH_REASON_" in output
    assert "MEDIA_SOURCE_CALLER" in output
    assert "描述这张图片。" in output  # said by Detokenize alone


async def test_the_python_examples_run(targets: Targets) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script("python", targets),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    check_output(output.decode())


async def test_the_node_examples_run(tmp_path: Path, targets: Targets) -> None:
    folder = await asyncio.to_thread(install, tmp_path)
    (folder / "script.mjs").write_text(script("js", targets), encoding="utf-8")
    check_output(await run_node(folder, "script.mjs"))


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_call_has_an_example_in_both_languages(name: str) -> None:
    service, method = name.split(".")[-2:]
    text = section(f"{service}.{method}")
    for language in ("python", "js"):
        [example] = examples(language, text)
        assert method in example


def test_no_call_is_made_up() -> None:
    described = {title for title in titles() if "Service." in title}
    assert described == {".".join(name.split(".")[-2:]) for name in methods()}


@pytest.mark.parametrize(
    ("title", "code"),
    [
        ("Every service", SHARED),
        ("vision.autoglm", sources("services/vision")),
        ("speech.autoglm", sources("services/speech")),
        ("llm.autoglm", [*sources("services/llm"), *THROUGH_THE_LLM]),
    ],
)
def test_every_reason_that_is_raised_is_in_the_table_and_no_other(title: str, code: list[Path]) -> None:
    documented = {(status, reason) for status, reason, _ in table(title, "code")}
    assert documented
    assert documented == raised(*code)


def test_the_limits_are_the_defaults() -> None:
    rows = table("Limits", "setting")
    assert rows
    for names, default, _ in rows:
        for name in names.split(", "):
            service, key = name.split(".")
            value = SETTINGS[service].model_fields[key].default
            assert default == (f"{value // MIB} MiB" if value % MIB == 0 else f"{value:,.0f}"), name


def test_the_ranges_of_sampling_parameters_are_those_that_are_checked() -> None:
    rows = {name: (low, high, unset) for name, low, high, unset in table("Limits", "parameter")}
    assert rows.pop("stop") == ("0 strings", f"{messages.MAX_STOPS} strings", "none")
    assert set(rows) == set(RANGES)
    for name, (low, high) in RANGES.items():
        most = "any" if high == 2**31 - 1 else f"{high:g}"
        assert rows[name][:2] == (f"{low:g}", most)
        if name not in ("temperature", "max_tokens", "top_logprobs"):  # not the engine's to choose
            assert rows[name][2] == f"{getattr(SamplingParams(), name):g}"
