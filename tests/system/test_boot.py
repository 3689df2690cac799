"""What keeps a process from starting is said in one line."""

import os
import subprocess
import sys

import pytest

from cli.bundle import REPOSITORY

pytestmark = pytest.mark.system


@pytest.mark.parametrize(("module", "section"), [("services.speech", "speech"), ("gateway", "gateway")])
def test_an_unknown_setting_is_refused_by_name(module: str, section: str) -> None:
    variable = f"AUTOGLM_{section.upper()}__COLOUR"
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=REPOSITORY,
        env=os.environ | {variable: "red"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"{section}.colour (from {variable})" in done.stderr
    assert "Traceback" not in done.stderr
