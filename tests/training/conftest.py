"""A tokenizer and a tiny joint model to train with."""

from pathlib import Path

import pytest

from services.llm.model.config import DecoderConfig
from services.llm.tokenizer import Tokenizer
from services.vision.model.native import VisionConfig
from training.model import JointModel
from training.tokenizer import build_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    build_tokenizer(2 * ["这是什么？红色苹果。你好，很高兴认识十"], path)
    return Tokenizer(path)


@pytest.fixture
def model(tokenizer: Tokenizer) -> JointModel:
    return JointModel(VisionConfig.tiny(), DecoderConfig.tiny(tokenizer.vocab_size)).eval()
