"""Random checkpoints that servers are measured on."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from benchmarks.checkpoints import SHAPES
from services.llm.checkpoint import Bundle
from services.llm.dummy import SPECIAL_TOKENS

TINY = ("tiny", "tiny-seeing")


@pytest.mark.parametrize("size", TINY)
def test_a_checkpoint_is_one_that_our_services_open(checkpoint: Callable[[str], Path], size: str) -> None:
    bundle = Bundle.find(checkpoint(size))
    assert bundle.config.hidden_size == SHAPES[size].hidden_size
    assert not bundle.config.tie_word_embeddings


@pytest.mark.parametrize("size", TINY)
def test_every_byte_is_a_token_and_every_word_that_is_said_is_text(
    checkpoint: Callable[[str], Path], size: str
) -> None:
    folder = checkpoint(size)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert len(tokenizer.encode("one byte each: é").ids) == len("one byte each: é".encode())
    head = Bundle.find(folder).load(torch.float32, torch.device("cpu")).decoder.lm_head.weight
    silent = {index for index, row in enumerate(head) if not row.any()}
    assert {tokenizer.token_to_id(name) for name in SPECIAL_TOKENS} <= silent
    spoken = [tokenizer.decode([index]) for index in range(len(head)) if index not in silent]
    assert len(spoken) == len(set(spoken)) > 300
    assert all(text and "\ufffd" not in text for text in spoken)
