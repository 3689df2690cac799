"""Section `gateway` of config.yaml."""

import pytest

from cli.bundle import REPOSITORY
from gateway.settings import GatewaySettings
from servicekit.settings import SettingsError, load_settings

CONFIG = REPOSITORY / "config.yaml"


def test_the_file_in_the_repository_says_the_defaults() -> None:
    assert load_settings("gateway", GatewaySettings, CONFIG, {}) == GatewaySettings()


def test_the_environment_wins() -> None:
    environ = {"AUTOGLM_GATEWAY__COMPRESS_IMAGES": "true", "AUTOGLM_GATEWAY__MODEL_ALIASES": "[glm]"}
    settings = load_settings("gateway", GatewaySettings, CONFIG, environ)
    assert settings.compress_images
    assert settings.model_aliases == ("glm",)


@pytest.mark.parametrize(
    ("key", "value"),
    [("PORT", "-1"), ("RETRIES", "6"), ("REQUEST_TIMEOUT_S", "0"), ("LOG_LEVEL", "loud"), ("COLOUR", "red")],
)
def test_a_wrong_setting_is_refused_by_name(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"gateway\.{key.lower()} \(from AUTOGLM_GATEWAY__{key}\)"):
        load_settings("gateway", GatewaySettings, CONFIG, {f"AUTOGLM_GATEWAY__{key}": value})


def test_one_body_must_fit_what_all_may_hold() -> None:
    with pytest.raises(SettingsError, match="max_total_body_bytes"):
        load_settings("gateway", GatewaySettings, CONFIG, {"AUTOGLM_GATEWAY__MAX_TOTAL_BODY_BYTES": "2048"})
