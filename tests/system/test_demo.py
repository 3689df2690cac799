"""`make demo` after its set-up."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from cli.bundle import REPOSITORY

pytestmark = pytest.mark.system

TIMEOUT_S = 120


@pytest.mark.usefixtures("trained")
async def test_the_demo_asks_in_writing_and_aloud_and_ends_well(bundle: Path) -> None:
    demo = await asyncio.create_subprocess_exec(
        sys.executable,
        str(REPOSITORY / "examples" / "demo.py"),
        cwd=REPOSITORY,
        env=os.environ | {"AUTOGLM_LLM__MODEL": str(bundle)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(TIMEOUT_S):
        output, errors = await demo.communicate()
    text = output.decode()
    assert demo.returncode == 0, errors.decode()
    assert "bananas.jpg" in text
    assert "tomatoes.jpg" in text
    assert text.count("encoded, ") == 3  # two photos, and a recording about the first of them
    assert "  heard    这是什么水果\n" in text
    assert "  (final)" in text
    assert text.endswith("Stopped.\n")
