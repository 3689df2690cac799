"""Who may reach a server, before anything is encrypted."""

import ipaddress

from servicekit.settings import SettingsError


def check_exposure(host: str, *, insecure: bool, encrypted: bool = False) -> None:
    """Plaintext beyond loopback has to be asked for; SettingsError."""
    if not is_loopback(host) and not insecure and not encrypted:
        raise SettingsError(
            f"host {host} is reachable from outside, in plaintext; use TLS, or insecure: true to allow that"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that is bound to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
