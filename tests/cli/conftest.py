"""A whole-looking bundle for the commands that only look at files."""

from pathlib import Path

import pytest

from cli.bundle import PARTS


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "autoglm-test"
    for part, names in PARTS.items():
        (folder / part).mkdir(parents=True)
        for name in names:
            (folder / part / name).write_text("{}")
    return folder
