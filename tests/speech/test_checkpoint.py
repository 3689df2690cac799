"""The recogniser's folder of a bundle."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from servicekit.checkpoint import CheckpointError
from services.speech.checkpoint import Checkpoint


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_a_bundle_is_described_without_loading_it(bundle: Path) -> None:
    checkpoint = Checkpoint.open(bundle)
    assert (checkpoint.name, checkpoint.config.projector_size) == ("tiny", 32)
    assert checkpoint.fingerprint.startswith("tiny@")
    model = checkpoint.load(torch.device("cpu"), torch.float32).model
    assert checkpoint.parameter_count == sum(tensor.numel() for tensor in model.state_dict().values())


@pytest.mark.parametrize("name", ["config.json", "characters.json", "model.safetensors"])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / "speech" / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        Checkpoint.open(bundle)


@pytest.mark.parametrize("name", ["config.json", "characters.json", "model.safetensors"])
def test_a_broken_file_is_named(bundle: Path, name: str) -> None:
    (bundle / "speech" / name).write_bytes(b"[1,")
    with pytest.raises(CheckpointError, match=name):
        Checkpoint.open(bundle)


def test_another_architecture_is_refused(bundle: Path) -> None:
    edit(bundle / "speech" / "config.json", architectures=["WhisperForConditionalGeneration"])
    with pytest.raises(CheckpointError, match="WhisperForConditionalGeneration is not served"):
        Checkpoint.open(bundle)


def test_a_vocabulary_of_another_size_is_refused(bundle: Path) -> None:
    (bundle / "speech" / "characters.json").write_text('["<S/S>", "你"]', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"has 2 characters, config\.json asks for"):
        Checkpoint.open(bundle)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_tensors_that_do_not_fit_the_config_are_named(bundle: Path, change: str) -> None:
    path = bundle / "speech" / "model.safetensors"
    tensors = load_file(path)
    name = "encoder.blocks.0.attention.query.bias"
    if change == "missing":
        del tensors[name]
    else:
        tensors[name if change == "shape" else "encoder.more"] = torch.zeros(7)
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="encoder"):
        Checkpoint.open(bundle)


def test_other_weights_have_another_fingerprint(bundle: Path) -> None:
    before = Checkpoint.open(bundle).fingerprint
    path = bundle / "speech" / "model.safetensors"
    tensors = load_file(path)
    tensors["decoder.output_bias"][0] += 1
    save_file(tensors, path)
    assert Checkpoint.open(bundle).fingerprint != before
