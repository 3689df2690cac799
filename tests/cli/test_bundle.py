"""Model bundles."""

import json
from pathlib import Path

import pytest

from cli.bundle import BundleError, check_bundle, display_name


def test_a_whole_bundle_passes(bundle: Path) -> None:
    check_bundle(bundle)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no model folder .*nowhere"):
        check_bundle(tmp_path / "nowhere")


def test_missing_files_are_all_named(bundle: Path) -> None:
    (bundle / "llm" / "tokenizer.json").unlink()
    (bundle / "vision" / "model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"Missing: vision/model\.safetensors, llm/tokenizer\.json\."):
        check_bundle(bundle)


def test_a_broken_config_is_named(bundle: Path) -> None:
    (bundle / "llm" / "config.json").write_text("{")
    with pytest.raises(BundleError, match=r"llm/config\.json is not JSON"):
        check_bundle(bundle)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("autoglm-mobile-tiny", "AutoGLM-Mobile-Tiny"),
        ("AutoGLM-Phone-9B", "AutoGLM-Phone-9B"),
        ("mine", "mine"),
    ],
)
def test_the_name_is_written_as_people_write_it(folder: str, name: str) -> None:
    assert display_name(Path("models") / folder) == name


def write_published(folder: Path, architecture: str, *names: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    for name in names:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("architecture", "services"),
    [
        ("Glm4ForCausalLM", ("llm",)),
        ("GlmForCausalLM", ("llm",)),
        ("Glm4vForConditionalGeneration", ("vision", "llm")),
    ],
)
def test_a_published_checkpoint_is_opened_by_those_who_have_a_part_in_it(
    architecture: str, services: tuple[str, ...], tmp_path: Path
) -> None:
    names = ("tokenizer.json", "preprocessor_config.json", "model.safetensors.index.json")
    assert check_bundle(write_published(tmp_path / "model", architecture, *names)) == services


def test_a_published_checkpoint_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    folder = write_published(tmp_path / "model", "Glm4vForConditionalGeneration")
    missing = r"tokenizer\.json, preprocessor_config\.json, model\.safetensors"
    with pytest.raises(BundleError, match=missing):
        check_bundle(folder)


def test_a_foreign_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="LlamaForCausalLM, which is not served"):
        check_bundle(write_published(tmp_path / "model", "LlamaForCausalLM"))


def test_made_up_weights_need_no_folder() -> None:
    assert check_bundle(Path("dummy:9b")) == ("vision", "llm")
