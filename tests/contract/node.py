"""Node programs run against our servers: the example client, installed beside a copy of the protos."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).parents[2]
INSTALL_S = 60
RUN_S = 30


def install(folder: Path) -> Path:
    """The repository as Node sees it, packages included; a skip that says why where that cannot be."""
    if shutil.which("npm") is None:
        _give_up("node and npm are not installed")
    ignored = shutil.ignore_patterns("node_modules")
    shutil.copytree(REPOSITORY / "examples", folder / "examples", ignore=ignored)
    (folder / "protos").symlink_to(REPOSITORY / "protos")
    options = ["--prefer-offline", "--fetch-retries=1", "--ignore-scripts", "--no-audit", "--no-fund"]
    command = ["npm", "ci", *options]
    try:
        subprocess.run(
            command,
            cwd=folder / "examples/node",
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
        )
    except subprocess.TimeoutExpired:
        _give_up(f"npm took more than {INSTALL_S} s to install the client's packages")
    except subprocess.CalledProcessError as error:
        _give_up(f"npm could not install the client's packages: {error.stderr.strip()[-300:]}")
    return folder


def _give_up(why: str) -> NoReturn:
    """Where there may be no Node the test is skipped; in CI it has to run."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


async def run_node(folder: Path, *arguments: str) -> str:
    """What the program prints; it must exit with 0."""
    process = await asyncio.create_subprocess_exec(
        "node", *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(RUN_S):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()
