"""A tiny random encoder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch

from services.vision.encoder import Encoder
from services.vision.native import NativeCheckpoint
from tests.bundles import write_vision_bundle


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_vision_bundle(tmp_path).parent


@pytest.fixture
async def encoder(bundle: Path) -> AsyncIterator[Encoder]:
    encoder = Encoder(NativeCheckpoint.open(bundle), torch.device("cpu"), torch.float32, max_batch=4)
    yield encoder
    await encoder.close()
