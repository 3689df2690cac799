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


def test_the_environment_frees_the_ports_and_names_the_model(config: Path) -> None:
    environ = {
        "AUTOGLM_SPEECH__PORT": "0",
        "AUTOGLM_SPEECH__METRICS_PORT": "null",
        "AUTOGLM_SPEECH__MODEL": "models/x",
    }
    settings = load_settings("speech", SpeechSettings, config, environ)
    assert (settings.port, settings.metrics_port, settings.model) == (0, None, Path("models/x"))


@pytest.mark.parametrize(
    ("key", "value"), [("BEAMS", "0"), ("DEVICE", "tpu"), ("MAX_AUDIO_SECONDS", "-1"), ("NO_SUCH_KEY", "1")]
)
def test_what_makes_no_sense_is_refused_by_name(config: Path, key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"speech\.{key.lower()}"):
        load_settings("speech", SpeechSettings, config, {f"AUTOGLM_SPEECH__{key}": value})


def test_a_clip_must_fit_into_a_message(config: Path) -> None:
    environ = {"AUTOGLM_SPEECH__MAX_AUDIO_BYTES": "70000000"}
    with pytest.raises(SettingsError, match="max_audio_bytes must be smaller"):
        load_settings("speech", SpeechSettings, config, environ)
