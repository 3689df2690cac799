"""What tests of several packages share."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servicekit import torchaudio_guard

torchaudio_guard.install()  # before any test imports transformers

if TYPE_CHECKING:
    from tests.published import Architecture


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> "Callable[[Architecture], Path]":
    """Architecture -> folder of a small random checkpoint, written once; tests only read it."""

    @cache
    def checkpoint(architecture: "Architecture") -> Path:
        from tests.published import save_checkpoint  # torch, which many tests do without

        folder = tmp_path_factory.mktemp("published") / architecture
        save_checkpoint(folder, architecture)
        return folder

    return checkpoint
