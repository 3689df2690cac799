"""Checkpoints, written once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Size -> folder; tests only read it."""

    @cache
    def write(size: str) -> Path:
        from benchmarks.checkpoints import SHAPES, save_checkpoint  # torch, which many tests do without

        folder = tmp_path_factory.mktemp("checkpoints") / size
        save_checkpoint(folder, SHAPES[size])
        return folder

    return write
