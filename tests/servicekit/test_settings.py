"""Settings fail loudly, and name the key and where it came from."""

from pathlib import Path

import pytest

from servicekit.settings import Settings, SettingsError, load_settings


class Sample(Settings):
    port: int
    name: str = "tiny"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("vision:\n  port: 1\n", encoding="utf-8")
    return path


def test_the_file_fills_the_section(config: Path) -> None:
    assert load_settings("vision", Sample, config, {}) == Sample(port=1)


def test_the_environment_wins_over_the_file(config: Path) -> None:
    environ = {"AUTOGLM_VISION__PORT": "2", "AUTOGLM_LLM__PORT": "3", "AUTOGLM_VISION__NAME": "large"}
    assert load_settings("vision", Sample, config, environ) == Sample(port=2, name="large")


def test_the_environment_names_the_file(config: Path) -> None:
    assert load_settings("vision", Sample, environ={"AUTOGLM_CONFIG": str(config)}).port == 1


@pytest.mark.parametrize(
    ("text", "environ", "named"),
    [
        ("vision: {port: 1, prot: 2}", {}, r"vision\.prot \(from .*config\.yaml\)"),
        ("vision: {port: 1}", {"AUTOGLM_VISION__PROT": "2"}, r"vision\.prot \(from AUTOGLM_VISION__PROT\)"),
        ("vision: {port: high}", {}, r"vision\.port"),
        ("vision: {}", {}, r"vision\.port"),
        ("llm: {port: 1}", {}, "no section vision"),
        ("vision: [", {}, "not valid YAML"),
        ("", {}, "no section vision"),
    ],
)
def test_what_is_wrong_is_named(config: Path, text: str, environ: dict[str, str], named: str) -> None:
    config.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=named):
        load_settings("vision", Sample, config, environ)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no settings file .*nowhere\.yaml"):
        load_settings("vision", Sample, tmp_path / "nowhere.yaml", {})
