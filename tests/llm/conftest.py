"""A tiny tokenizer, and a tiny model with weights wide enough that mistakes show."""

import pytest
import torch

from services.llm.model.config import DecoderConfig
from services.llm.model.decoder import Decoder
from services.llm.model.fusion import GatingUnit
from services.llm.tokenizer import Tokenizer
from tests.bundles import tiny_backbone, write_tokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="session")
def backbone(tokenizer: Tokenizer) -> tuple[Decoder, GatingUnit]:
    return tiny_backbone(DecoderConfig.tiny(tokenizer.vocab_size), seed=0)


@pytest.fixture(scope="session")
def decoder(backbone: tuple[Decoder, GatingUnit]) -> Decoder:
    return backbone[0]
