"""Plaintext stays on this machine."""

import pytest

from servicekit.exposure import check_exposure
from servicekit.settings import SettingsError


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org"])
def test_plaintext_beyond_loopback_has_to_be_asked_for(host: str) -> None:
    with pytest.raises(SettingsError, match="insecure: true"):
        check_exposure(host, insecure=False)
    check_exposure(host, insecure=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_no_permission(host: str) -> None:
    check_exposure(host, insecure=False)


def test_a_server_with_tls_may_be_reached_from_outside() -> None:
    check_exposure("0.0.0.0", insecure=False, encrypted=True)
