"""When text is read: the setting, the family, and whether the packages are there."""

from pathlib import Path

import pytest

from servicekit.settings import SettingsError
from services.vision.native import NativeCheckpoint
from services.vision.opening import open_checkpoint
from services.vision.settings import VisionSettings
from services.vision.text.opening import open_text
from services.vision.text.rapid import RapidOCRModel


def reads(model: Path, read_text: object) -> bool:
    settings = VisionSettings.model_validate({"model": model, "read_text": read_text})
    return open_text(settings, open_checkpoint(settings.model)) is not None


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RapidOCRModel, "installed", lambda: False)


@pytest.mark.parametrize(
    ("setting", "expected"), [("auto", True), ("on", True), (True, True), (False, False)]
)
def test_the_setting_decides_for_native_encoders(bundle: Path, setting: object, expected: bool) -> None:
    assert reads(bundle, setting) is expected


@pytest.mark.parametrize(("setting", "expected"), [("auto", False), ("on", True), ("off", False)])
def test_published_encoders_read_by_themselves(setting: str, expected: bool) -> None:
    assert reads(Path("dummy:2b"), setting) is expected


@pytest.mark.usefixtures("absent")
def test_without_the_packages_auto_reads_nothing(bundle: Path) -> None:
    assert not reads(bundle, "auto")


@pytest.mark.usefixtures("absent")
def test_without_the_packages_on_says_what_to_install(bundle: Path) -> None:
    settings = VisionSettings(model=bundle, read_text="on")
    with pytest.raises(SettingsError, match=r"vision.read_text: .*requirements-ocr.txt"):
        open_text(settings, NativeCheckpoint.open(bundle))
