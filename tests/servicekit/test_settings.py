"""Settings fail loudly, and name the key and where it came from."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from servicekit.settings import Settings, SettingsError, load_settings


class Sample(Settings):
    port: int
    name: str = "tiny"
    names: tuple[str, ...] = ()
    metrics_port: int | None = 3


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("vision:\n  port: 1\nllm:\n", encoding="utf-8")
    return path


def test_the_file_fills_the_section(config: Path) -> None:
    assert load_settings("vision", Sample, config, {}) == Sample(port=1)


def test_the_environment_wins_over_the_file(config: Path) -> None:
    environ = {"AUTOGLM_VISION__PORT": "2", "AUTOGLM_LLM__PORT": "3", "AUTOGLM_VISION__NAME": "large"}
    assert load_settings("vision", Sample, config, environ) == Sample(port=2, name="large")


def test_the_environment_names_the_file(config: Path) -> None:
    assert load_settings("vision", Sample, environ={"AUTOGLM_CONFIG": str(config)}).port == 1


@pytest.mark.parametrize("name", ["0123", "on", "::", "2024-01-01", "", "a: b"])
def test_text_in_the_environment_stays_text(config: Path, name: str) -> None:
    assert load_settings("vision", Sample, config, {"AUTOGLM_VISION__NAME": name}).name == name


def test_lists_and_none_can_be_said_in_the_environment(config: Path) -> None:
    environ = {"AUTOGLM_VISION__NAMES": "[a, b]", "AUTOGLM_VISION__METRICS_PORT": "null"}
    settings = load_settings("vision", Sample, config, environ)
    assert (settings.names, settings.metrics_port) == (("a", "b"), None)


def test_an_empty_section_takes_the_defaults(config: Path) -> None:
    assert load_settings("llm", Settings, config, {}) == Settings()


def test_settings_cannot_change() -> None:
    with pytest.raises(ValidationError):
        Sample(port=1).port = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "environ", "named"),
    [
        ("vision: {port: 1, prot: 2}", {}, r"vision\.prot \(from .*config\.yaml\)"),
        ("vision: {port: 1}", {"AUTOGLM_VISION__PROT": "2"}, r"vision\.prot \(from AUTOGLM_VISION__PROT\)"),
        ("vision: {port: high}", {}, r"vision\.port"),
        ("vision: {}", {}, r"vision\.port"),
        ("llm: {port: 1}", {}, "no section vision"),
        ("vision: [", {}, "not valid YAML"),
        ("[vision]", {}, "holds no sections"),
        ("vision: 1", {}, "vision is no section"),
        ("vision: {port: 1}", {"AUTOGLM_VISON__PORT": "2"}, "AUTOGLM_VISON__PORT names no section"),
        ("vision: {port: 1}", {"AUTOGLM_VISION__PORT": "[2, [3]"}, "AUTOGLM_VISION__PORT is not valid YAML"),
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


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings("vision", Sample, tmp_path, {})
    path = tmp_path / "config.yaml"
    path.write_bytes("vision: {port: 1} # 端口".encode("gbk"))
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings("vision", Sample, path, {})


@pytest.mark.parametrize("text", ["[a, b]", "[a, b]\n", " [a,\n b] "])
def test_white_space_around_a_list_in_the_environment_is_nothing(config: Path, text: str) -> None:
    assert load_settings("vision", Sample, config, {"AUTOGLM_VISION__NAMES": text}).names == ("a", "b")


def test_an_address_of_ipv6_is_no_list(config: Path) -> None:
    assert (
        load_settings("vision", Sample, config, {"AUTOGLM_VISION__NAME": "[::1]:50051"}).name == "[::1]:50051"
    )
