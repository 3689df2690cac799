"""Section `speech` of config.yaml."""

from pathlib import Path

import pytest

from servicekit.settings import SettingsError, load_settings
from services.speech.settings import SpeechSettings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("speech:\n", encoding="utf-8")
    return path


def test_an_empty_section_takes_the_ports_of_speech_on_loopback(config: Path) -> None:
    settings = load_settings("speech", SpeechSettings, config, {})
    assert (settings.port, settings.health_port, settings.metrics_port) == (50052, 51052, 52052)
    assert settings.host == "127.0.0.1"


def test_the_environment_frees_the_ports(config: Path) -> None:
    environ = {"AUTOGLM_SPEECH__PORT": "0", "AUTOGLM_SPEECH__METRICS_PORT": "null"}
    settings = load_settings("speech", SpeechSettings, config, environ)
    assert (settings.port, settings.metrics_port) == (0, None)


def test_a_key_that_speech_does_not_know_is_refused_by_name(config: Path) -> None:
    with pytest.raises(SettingsError, match=r"speech\.model \(from AUTOGLM_SPEECH__MODEL\)"):
        load_settings("speech", SpeechSettings, config, {"AUTOGLM_SPEECH__MODEL": "models/some"})
