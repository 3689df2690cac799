"""Section `vision` of config.yaml."""

from pathlib import Path

import pytest

from servicekit.settings import SettingsError, load_settings
from services.vision.settings import VisionSettings


def load(tmp_path: Path, **environ: str) -> VisionSettings:
    config = tmp_path / "config.yaml"
    config.write_text("vision:\n  max_batch: 3\n", encoding="utf-8")
    return load_settings("vision", VisionSettings, config, environ)


def test_file_and_environment_are_read(tmp_path: Path) -> None:
    settings = load(tmp_path, AUTOGLM_VISION__LAZY_LOAD="true", AUTOGLM_VISION__MODEL="some/model")
    assert settings.max_batch == 3
    assert settings.lazy_load
    assert settings.model == Path("some/model")


@pytest.mark.parametrize(
    ("key", "value"),
    [("device", "tpu"), ("device", "cuda:x"), ("dtype", "int8"), ("max_batch", "0"), ("max_imags", "1")],
)
def test_value_that_cannot_be_meant_is_refused_by_key(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"vision.{key}.*AUTOGLM_VISION__{key.upper()}"):
        load(tmp_path, **{f"AUTOGLM_VISION__{key.upper()}": value})


def test_picture_limit_must_fit_a_message(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="max_image_bytes must be smaller"):
        load(tmp_path, AUTOGLM_VISION__MAX_MESSAGE_BYTES="1000")
