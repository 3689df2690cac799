"""The example of docs/realtime.md runs as printed."""

import asyncio
import re
import sys

import pytest

from autoglm.llm.v1 import llm_pb2
from cli.bundle import REPOSITORY
from tests.gateway.conftest import Gateway
from tests.gateway.scripted_llm import ScriptedLLM

COMMAND = re.compile(r"^\.venv/bin/python examples/realtime\.py (.*)$", re.MULTILINE)
COMMANDS = COMMAND.findall((REPOSITORY / "docs/realtime.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("arguments", COMMANDS)
async def test_the_example_hears_and_answers(
    arguments: str, llm: ScriptedLLM, hearing_gateway: Gateway
) -> None:
    command = [
        sys.executable,
        "examples/realtime.py",
        *arguments.split(),
        "--url",
        hearing_gateway.server.url,
    ]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert "> 这是什么" in output.decode()
    answered = "--transcribe" not in arguments
    assert ("红苹果" in output.decode()) == answered == bool(llm.requests)
    if "--picture" in arguments:
        parts = [part.WhichOneof("content") for part in llm.requests[0].messages[0].parts]
        assert parts == ["image", "audio"]
        assert llm.requests[0].messages[0].role == llm_pb2.ROLE_USER


def test_each_way_of_use_is_shown() -> None:
    assert len(COMMANDS) == 3
