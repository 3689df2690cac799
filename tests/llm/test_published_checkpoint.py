"""A published folder is opened whole, or refused with the name of what is wrong; so are made-up weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from servicekit.checkpoint import CheckpointError
from servicekit.shards import Shards
from services.llm.checkpoint import Bundle
from tests.published import ARCHITECTURES, Architecture, save_checkpoint

CPU = torch.device("cpu")
INDEX = "model.safetensors.index.json"
Published = Callable[[Architecture], Path]


@pytest.fixture
def folder(published: Published, tmp_path: Path) -> Path:
    """A vision-language checkpoint to spoil."""
    return Path(shutil.copytree(published("Glm4vForConditionalGeneration"), tmp_path / "phone"))


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "sharded", "Glm4ForCausalLM", max_shard_size="300KB")
    return tmp_path / "sharded"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_arrive_as_they_were_written(published: Published, architecture: Architecture) -> None:
    bundle = Bundle.open(published(architecture))
    assert not bundle.native
    assert bundle.name == architecture
    decoder = bundle.load(torch.float32, CPU).decoder
    stored = load_file(bundle.folder / "model.safetensors")
    prefix = "model.language_model." if "Glm4v" in architecture else "model."
    for name, parameter in decoder.named_parameters():
        assert torch.equal(parameter, stored[name if "lm_head" in name else prefix + name]), name
    assert bundle.parameter_count == sum(tensor.numel() for n, tensor in stored.items() if "visual" not in n)


def test_a_model_in_several_files_is_put_together(sharded: Path) -> None:
    files = sorted(sharded.glob("*.safetensors"))
    assert len(files) > 2
    done: list[int] = []
    bundle = Bundle.open(sharded)
    decoder = bundle.load(torch.float32, CPU, done.append).decoder
    assert sum(done) == bundle.parameter_count
    stored = {name: tensor for file in files for name, tensor in load_file(file).items()}
    for name, tensor in stored.items():
        assert torch.equal(decoder.get_parameter(name.removeprefix("model.")), tensor), name


def test_tied_heads_share_the_embedding(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "tied", "Glm4ForCausalLM", tied=True)
    decoder = Bundle.open(tmp_path / "tied").load(torch.float32, CPU).decoder
    assert decoder.lm_head.weight is decoder.embed_tokens.weight


def test_names_from_before_the_language_model_had_its_own_are_read(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    older = {
        name.replace("model.language_model.", "model.").replace("model.visual.", "visual."): tensor
        for name, tensor in tensors.items()
    }
    save_file(older, folder / "model.safetensors")
    decoder = Bundle.open(folder).load(torch.float32, CPU).decoder
    assert torch.equal(decoder.norm.weight, tensors["model.language_model.norm.weight"])


def test_tensors_of_the_vision_encoder_are_never_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    read = Shards.read

    def spy(self: Shards, shapes: dict[str, tuple[int, ...]], *rest: object) -> object:
        asked.extend(shapes)
        return read(self, shapes, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Shards, "read", spy)
    Bundle.open(folder).load(torch.float32, CPU)
    assert asked
    assert not [name for name in asked if "visual" in name]


def test_a_missing_file_of_several_is_named(sharded: Path) -> None:
    lost = sorted(sharded.glob("*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(CheckpointError, match=f"{lost.name} cannot be read: No such file"):
        Bundle.open(sharded)


def test_an_index_that_promises_too_much_is_refused(sharded: Path) -> None:
    index = json.loads((sharded / INDEX).read_text())
    index["weight_map"]["model.extra"] = next(iter(index["weight_map"].values()))
    (sharded / INDEX).write_text(json.dumps(index))
    with pytest.raises(
        CheckpointError, match=r"holds no model\.extra, which model\.safetensors\.index\.json"
    ):
        Bundle.open(sharded)


def test_an_index_that_points_elsewhere_is_refused(sharded: Path) -> None:
    (sharded / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": "../model.safetensors"}}))
    with pytest.raises(CheckpointError, match="points out of its folder"):
        Bundle.open(sharded)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": 3}'])
def test_a_broken_index_is_refused(sharded: Path, content: str) -> None:
    (sharded / INDEX).write_text(content)
    with pytest.raises(CheckpointError, match="is no index of tensors"):
        Bundle.open(sharded)


@pytest.mark.parametrize("content", [b"", b"not tensors at all", b"\x02\0\0\0\0\0\0\0[]", b"\xff" * 64])
def test_a_foreign_file_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not a (whole )?safetensors file"):
        Bundle.open(folder)


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_truncated_file_is_refused(folder: Path, kept: float) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: int(len(weights) * kept)])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        Bundle.open(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 64}, r"embed_tokens.weight is \[432, 128\] instead of \[432, 64\]"),
        ({"num_hidden_layers": 4}, r"missing model.language_model.layers.3.*and 8 more"),
        ({"num_hidden_layers": 2}, "unexpected model.language_model.layers.2"),
        ({"vocab_size": None}, "config.json does not describe a decoder: vocab_size is None"),
    ],
    ids=["shapes", "missing", "unexpected", "config"],
)
def test_weights_of_another_model_are_refused(
    folder: Path, change: dict[str, int | None], message: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        Bundle.open(folder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds neither a bundle's llm folder nor a config.json"):
        Bundle.find(tmp_path)


def test_the_fingerprint_tells_trainings_apart_without_reading_them(folder: Path) -> None:
    fingerprints = {Bundle.open(folder).fingerprint}
    tensors = load_file(folder / "model.safetensors")
    for name in ("lm_head.weight", "model.language_model.norm.weight"):
        tensors[name] += 1
        save_file(tensors, folder / "model.safetensors")
        fingerprints.add(Bundle.open(folder).fingerprint)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    fingerprints.add(Bundle.open(folder).fingerprint)
    assert len(fingerprints) == 4
    assert all(fingerprint.startswith("phone@") for fingerprint in fingerprints)


@pytest.mark.parametrize(("size", "billions"), [("9b", 9.4), ("4b", 4.0), ("2b", 1.9)])
def test_made_up_models_have_the_size_in_their_name(size: str, billions: float) -> None:
    bundle = Bundle.find(Path(f"dummy:{size}"))
    assert bundle.parameter_count / 1e9 == pytest.approx(billions, abs=0.1)
    assert bundle.name == f"dummy-{size}"
    assert not bundle.native


def test_an_unknown_made_up_size_is_refused() -> None:
    with pytest.raises(CheckpointError, match="dummy:70b is no preset; there are dummy:9b, dummy:4b"):
        Bundle.find(Path("dummy:70b"))
