"""Made-up weights run, are the same on every start, and have a tokenizer in which every id says something."""

import gc
from dataclasses import replace

import pytest
import tokenizers
import torch

from services.llm import dummy
from services.llm.dummy import DummyCheckpoint

SHAPES = {"model.norm.weight": (8,), "q_proj.bias": (8,), "q_proj.weight": (8000, 300)}


@pytest.fixture(scope="module")
def checkpoint() -> DummyCheckpoint:
    return DummyCheckpoint("dummy:2b")


def draw(checkpoint: DummyCheckpoint) -> dict[str, torch.Tensor]:
    return dict(checkpoint.read(SHAPES, torch.bfloat16, torch.device("cpu"), lambda count: None))


def test_weights_keep_the_size_of_what_passes_through_them(checkpoint: DummyCheckpoint) -> None:
    weights = draw(checkpoint)
    assert torch.equal(weights["model.norm.weight"], torch.ones(8, dtype=torch.bfloat16))
    assert not weights["q_proj.bias"].any()
    passed = torch.randn(10, 300) @ weights["q_proj.weight"].float().T
    assert passed.std().item() == pytest.approx(1, abs=0.1)
    assert len(weights["q_proj.weight"].unique(dim=0)) == 8000


def test_weights_are_the_same_on_every_start(checkpoint: DummyCheckpoint) -> None:
    first, second = draw(checkpoint), draw(checkpoint)
    assert all(torch.equal(first[name], second[name]) for name in SHAPES)


def test_every_token_says_something(checkpoint: DummyCheckpoint) -> None:
    inner = tokenizers.Tokenizer.from_file(str(checkpoint.folder / "tokenizer.json"))
    assert inner.get_vocab_size() == checkpoint.config.vocab_size
    assert inner.decode(inner.encode("Tap 你好").ids) == "Tap 你好"
    assert inner.decode([70000, 151551]) == " t70000 t151551"
    assert inner.token_to_id("<|user|>") == 151336
    assert inner.token_to_id("<|image|>") == 151343
    assert inner.decode([151336]) == ""


def test_presets_are_one_family(checkpoint: DummyCheckpoint) -> None:
    one, *others = (
        replace(c, hidden_size=0, intermediate_size=0, num_hidden_layers=0, num_attention_heads=2)
        for c in dummy.PRESETS.values()
    )
    assert all(other == one for other in others)


def test_the_folder_goes_with_the_checkpoint() -> None:
    checkpoint = DummyCheckpoint("dummy:2b")
    folder = checkpoint.folder
    assert folder.is_dir()
    del checkpoint
    gc.collect()
    assert not folder.exists()
