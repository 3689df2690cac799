"""The branch joins the bundle, and nothing else in the bundle changes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from services.speech.checkpoint import Checkpoint
from services.speech.model.config import StreamingConfig
from services.speech.model.streaming import StreamingBranch
from training.speech.bundle import open_bundle, write_branch, write_decoder

STREAMING = StreamingConfig(kernel_size=5, adapter_rank=4, context_layers=1)


def fresh_branch(bundle: Path) -> StreamingBranch:
    model, _ = open_bundle(bundle, STREAMING)
    if model.streaming is None:
        raise AssertionError("asked for a branch")
    return model.streaming


def test_what_was_there_stays_to_the_bit(bundle: Path) -> None:
    before = load_file(bundle / "model.safetensors")
    for _ in range(2):  # the second time replaces the first branch
        write_branch(bundle, fresh_branch(bundle))
    after = load_file(bundle / "model.safetensors")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert len(after) > len(before)


def test_the_service_opens_what_was_written(bundle: Path) -> None:
    branch = fresh_branch(bundle)
    branch.prior_mean_M.fill_(-80)
    write_branch(bundle, branch)
    model = Checkpoint.open(bundle.parent).load(torch.device("cpu"), torch.float32).model
    assert model.streaming is not None
    assert model.streaming.config == STREAMING
    assert model.streaming.prior_mean_M.tolist() == [-80.0] * 40


def test_the_decoders_blocks_can_be_replaced_alone(bundle: Path) -> None:
    before = load_file(bundle / "model.safetensors")
    model, _ = open_bundle(bundle)
    for parameter in model.parameters():
        parameter.data += 1
    write_decoder(bundle, model)
    after = load_file(bundle / "model.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor) != name.startswith("decoder.blocks.") or name.endswith(
            "_scale"
        )


def test_another_model_is_refused(bundle: Path) -> None:
    weights = bundle / "model.safetensors"
    weights.write_bytes(
        weights.read_bytes().replace(b"encoder.front.first.bias", b"encoder.front.thirst.bia")
    )
    with pytest.raises(ValueError, match="holds another model"):
        open_bundle(bundle, STREAMING)
