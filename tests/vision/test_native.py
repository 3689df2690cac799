"""The encoder's folder of a bundle."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from servicekit.checkpoint import CheckpointError
from services.vision.model.native import ARCHITECTURE, VisionConfig, VisionEncoder, normalise
from services.vision.native import NativeCheckpoint
from tests.bundles import write_vision_bundle

Tensors = dict[str, torch.Tensor]


def rewrite(bundle: Path, change: Callable[[Tensors], None]) -> None:
    weights = bundle / "vision" / "model.safetensors"
    tensors = load_file(weights)
    change(tensors)
    save_file(tensors, weights)


def test_checkpoint_knows_its_name_and_size(bundle: Path) -> None:
    checkpoint = NativeCheckpoint.open(bundle)
    assert checkpoint.name == "tiny"
    assert checkpoint.config == VisionConfig.tiny()
    parameters = VisionEncoder(VisionConfig.tiny()).parameters()
    assert checkpoint.parameter_count == sum(parameter.numel() for parameter in parameters)


def test_loaded_weights_are_the_ones_on_disk(bundle: Path) -> None:
    model = NativeCheckpoint.open(bundle).load(torch.device("cpu"), torch.float32)
    on_disk = load_file(bundle / "vision" / "model.safetensors")
    assert not model.training
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, on_disk[name].float()), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_take_the_type_asked_for(bundle: Path, dtype: torch.dtype) -> None:
    model = NativeCheckpoint.open(bundle).load(torch.device("cpu"), dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}


def test_an_encoder_in_int8_sees_nearly_what_it_sees_in_float16(tmp_path: Path) -> None:
    config = replace(VisionConfig.tiny(), width=32, head_width=64)
    half, eighth = (
        write_vision_bundle(tmp_path / name, config=config, int8=int8).parent
        for name, int8 in (("half", False), ("eighth", True))
    )
    pixels_BHW3 = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8)

    def see(bundle: Path) -> torch.Tensor:
        model = NativeCheckpoint.open(bundle).load(torch.device("cpu"), torch.float32)
        with torch.inference_mode():
            embeddings: torch.Tensor = model(normalise(pixels_BHW3))
        return embeddings

    expected, close = see(half), see(eighth)
    assert not torch.equal(close, expected)
    assert (close - expected).norm() < 0.05 * expected.norm()


def test_fingerprint_is_stable_and_changes_with_weights_and_config(tmp_path: Path) -> None:
    one, same, other = (
        write_vision_bundle(tmp_path / str(i), seed).parent for i, seed in enumerate((1, 1, 2))
    )
    fingerprint = NativeCheckpoint.open(one).fingerprint
    assert fingerprint.startswith("tiny@")
    assert len(fingerprint) == len("tiny@") + 16
    assert NativeCheckpoint.open(same).fingerprint == fingerprint
    assert NativeCheckpoint.open(other).fingerprint != fingerprint
    config = one / "vision" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert NativeCheckpoint.open(one).fingerprint != fingerprint


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere/vision/config\.json cannot be read"):
        NativeCheckpoint.open(tmp_path / "nowhere")


def test_missing_weights_are_named(bundle: Path) -> None:
    (bundle / "vision" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        NativeCheckpoint.open(bundle)


def test_truncated_weights_are_named(bundle: Path) -> None:
    weights = bundle / "vision" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not a whole"):
        NativeCheckpoint.open(bundle)


def test_missing_tensor_is_named(bundle: Path) -> None:
    rewrite(bundle, lambda tensors: tensors.__delitem__("projector.bias"))
    with pytest.raises(CheckpointError, match=r"missing projector\.bias"):
        NativeCheckpoint.open(bundle)


def test_tensor_of_something_else_is_named(bundle: Path) -> None:
    rewrite(bundle, lambda tensors: tensors.update(stray=torch.zeros(1)))
    with pytest.raises(CheckpointError, match="unexpected stray"):
        NativeCheckpoint.open(bundle)


def test_tensor_of_the_wrong_shape_is_named(bundle: Path) -> None:
    rewrite(bundle, lambda tensors: tensors.update({"projector.bias": torch.zeros(3)}))
    with pytest.raises(CheckpointError, match=r"projector\.bias is \[3\] instead"):
        NativeCheckpoint.open(bundle)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no object"),
        (json.dumps({"architectures": [ARCHITECTURE], "width": "wide"}), "does not describe an encoder"),
        (json.dumps({"architectures": ["BertModel"]}), "BertModel is not served here"),
        (json.dumps({**VisionConfig.tiny().to_dict(), "colour": 1}), "colour"),
    ],
)
def test_config_that_cannot_be_used_is_named(bundle: Path, text: str, complaint: str) -> None:
    (bundle / "vision" / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=complaint):
        NativeCheckpoint.open(bundle)
