"""A bundle is opened whole, or refused with the name of what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from servicekit.checkpoint import CheckpointError
from services.llm.checkpoint import Bundle
from services.llm.model.attention import DenseAttention, prefix_mask
from tests.bundles import write_llm_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_llm_bundle(tmp_path)


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_weights_arrive_as_they_were_written(folder: Path) -> None:
    bundle = Bundle.open(folder)
    backbone = bundle.load(torch.float32, torch.device("cpu"))
    stored = load_file(folder / "model.safetensors")
    for name, parameter in backbone.decoder.named_parameters():
        assert torch.equal(parameter, stored[f"model.{name}"].float()), name
    assert backbone.gate is not None
    assert torch.equal(backbone.gate.proj.bias, stored["gate.proj.bias"].float())
    assert backbone.decoder.lm_head.weight is backbone.decoder.embed_tokens.weight
    assert bundle.parameter_count == sum(tensor.numel() for tensor in stored.values())


def test_the_loaded_decoder_runs_in_the_asked_dtype(folder: Path) -> None:
    decoder = Bundle.open(folder).load(torch.bfloat16, torch.device("cpu")).decoder
    attend = lambda layer, q, k, v: q  # noqa: E731
    hidden = decoder(decoder.embed(torch.arange(3)), torch.arange(3), attend)
    assert hidden.dtype is torch.bfloat16
    assert hidden.isfinite().all()


def logits(folder: Path, ids: torch.Tensor) -> torch.Tensor:
    decoder = Bundle.open(folder).load(torch.float32, torch.device("cpu")).decoder
    attend = DenseAttention(prefix_mask(len(ids), []))
    with torch.inference_mode():
        return decoder.logits(decoder(decoder.embed(ids), torch.arange(len(ids)), attend))


def test_a_bundle_in_int8_answers_nearly_as_one_in_float16(tmp_path: Path) -> None:
    half, eighth = (
        write_llm_bundle(tmp_path / name, int8=int8) for name, int8 in (("half", False), ("eighth", True))
    )
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (half, eighth)]
    assert sizes[1] < 0.7 * sizes[0]
    ids = torch.arange(20)
    expected, close = logits(half, ids), logits(eighth, ids)
    assert not torch.equal(close, expected)
    assert (close - expected).norm() < 0.03 * expected.norm()
    assert Bundle.open(eighth).parameter_count == Bundle.open(half).parameter_count


@pytest.mark.parametrize("int8", [False, True])
def test_a_truncated_file_is_refused(tmp_path: Path, int8: bool) -> None:
    path = write_llm_bundle(tmp_path, int8=int8) / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is not a whole safetensors file"):
        Bundle.open(path.parent)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda t: t.pop("model.layers.1.mlp.down_proj.weight"),
            "missing model.layers.1.mlp.down_proj.weight",
        ),
        (lambda t: t.update(visual=torch.zeros(1)), "unexpected visual"),
        (lambda t: t.update({"gate.proj.bias": torch.zeros(4)}), r"gate.proj.bias is \[4\] instead of \[3\]"),
    ],
    ids=["missing", "unexpected", "misshapen"],
)
def test_a_wrong_tensor_is_named(
    folder: Path, edit: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    change(folder, edit)
    with pytest.raises(CheckpointError, match=message):
        Bundle.open(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"holds no {name}"):
        Bundle.open(folder)


def test_a_foreign_architecture_is_refused_by_name(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(CheckpointError, match="LlamaForCausalLM is not served here"):
        Bundle.open(folder)


def test_the_fingerprint_follows_every_file(folder: Path) -> None:
    fingerprints = {Bundle.open(folder).fingerprint}
    change(folder, lambda tensors: tensors["gate.proj.bias"].add_(1))
    fingerprints.add(Bundle.open(folder).fingerprint)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config + "\n")
    fingerprints.add(Bundle.open(folder).fingerprint)
    assert len(fingerprints) == 3
    assert all(fingerprint.startswith("tiny@") for fingerprint in fingerprints)
