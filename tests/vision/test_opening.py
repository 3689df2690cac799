"""Which encoder a setting names."""

import json
from pathlib import Path

import pytest

from servicekit.checkpoint import CheckpointError
from services.vision.glm4v import Glm4vCheckpoint
from services.vision.model.glm4v import Glm4vVisionConfig
from services.vision.native import NativeCheckpoint
from services.vision.opening import PRESETS, open_checkpoint
from tests.vision.published import reference, write_folder


def test_a_bundle_is_native_and_a_published_folder_is_not(bundle: Path, tmp_path: Path) -> None:
    assert isinstance(open_checkpoint(bundle), NativeCheckpoint)
    published = open_checkpoint(write_folder(tmp_path / "published", reference()), max_pixels=5_000_000)
    assert isinstance(published, Glm4vCheckpoint)
    assert published.patches.max_pixels == 5_000_000


@pytest.mark.parametrize("architecture", ["Glm4ForCausalLM", "GlmForCausalLM", "BertModel"])
def test_a_folder_without_a_vision_half_is_refused(tmp_path: Path, architecture: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    with pytest.raises(CheckpointError, match=f"{architecture} has no vision encoder"):
        open_checkpoint(tmp_path)


def test_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        open_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(("preset", "hidden_size"), [("9b", 4096), ("4b", 3072), ("2b", 2048)])
def test_a_dummy_of_each_size_opens_without_weights(preset: str, hidden_size: int) -> None:
    checkpoint = open_checkpoint(Path(f"dummy:{preset}"))
    assert checkpoint.hidden_size == hidden_size
    assert checkpoint.name == f"dummy:{preset}"
    assert checkpoint.fingerprint.startswith(f"dummy:{preset}@")


def test_the_largest_dummy_is_the_published_tower() -> None:
    from transformers.models.glm4v.configuration_glm4v import Glm4vVisionConfig as Published

    assert PRESETS["9b"] == Glm4vVisionConfig.from_dict(Published().to_dict())


def test_a_dummy_of_no_known_size_is_refused() -> None:
    with pytest.raises(
        CheckpointError, match="dummy:7b is no preset; there are dummy:9b, dummy:4b, dummy:2b"
    ):
        open_checkpoint(Path("dummy:7b"))
