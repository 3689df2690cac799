"""Model bundles."""

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
