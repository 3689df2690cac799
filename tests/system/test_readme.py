"""Every example of the READMEs and docs/thinking.md runs as printed, but for the ports of this server."""

import asyncio
import json
import re
import shutil
import sys

import pytest

from benchmarks.server import AUTOGLM, Server
from cli.bundle import REPOSITORY

pytestmark = pytest.mark.system

TIMEOUT_S = 60
DOCUMENTS = [*sorted(REPOSITORY.glob("README*.md")), REPOSITORY / "docs" / "thinking.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(language: str, start: str = "") -> list[str]:
    """Code blocks of one language; both READMEs share most of them."""
    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
    blocks = [body for text in texts for kind, body in BLOCK.findall(text) if kind == language]
    return [block for block in dict.fromkeys(blocks) if block.startswith(start)]


async def run(server: Server, text: str, *command: str) -> str:
    """What the command prints, with `text` as its last argument; it must exit with 0."""
    ports = {
        "127.0.0.1:8000": server.url.removeprefix("http://"),
        "127.0.0.1:50051": server.target("vision"),
        "127.0.0.1:50052": server.target("speech"),
        "127.0.0.1:50053": server.target("llm"),
    }
    for printed, actual in ports.items():
        text = text.replace(printed, actual)
    process = await asyncio.create_subprocess_exec(
        *command, text, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(TIMEOUT_S):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("example", examples("sh", "curl"))
async def test_the_curl_example_gets_an_answer(example: str, server: Server) -> None:
    completion = json.loads(await run(server, example, "sh", "-c"))
    if "/audio/" in example:
        assert completion["text"] == "".join(word["word"] for word in completion["words"]) != ""
        return
    assert completion["choices"][0]["finish_reason"] in ("stop", "length")
    assert bool(completion["autoglm"]["receipt"]["media"]) == ("image_url" in example)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("example", examples("python"))
async def test_the_python_example_prints_an_answer(example: str, server: Server) -> None:
    assert (await run(server, example, sys.executable, "-c")).strip()


async def test_photos_are_described_from_the_terminal(server: Server) -> None:
    command = f"{AUTOGLM} caption --url {server.url} examples/photos/*.jpg"
    lines = (await run(server, command, "sh", "-c")).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "examples/photos/bananas.jpg",
        "examples/photos/tomatoes.jpg",
    ]


def test_there_are_examples_of_each_client() -> None:
    python = "\n".join(examples("python"))
    assert examples("sh", "curl")
    for client in ("from openai import", "from langchain_openai import", "import grpc"):
        assert client in python
