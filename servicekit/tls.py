"""Credentials made of certificate files, and renewed with them: no restart, no dropped call."""

import ssl
from collections.abc import Callable
from pathlib import Path

import grpc

from servicekit.settings import KeyPair, SettingsError, TLSSettings
from servicekit.watched import Watched, read


def server_credentials(settings: TLSSettings) -> grpc.ServerCredentials:
    """What a service shows and asks for; each handshake takes the files as they are then. SettingsError."""
    pair = settings.pair
    if pair is None:
        raise SettingsError("tls needs certificate and key to serve with")

    def make() -> grpc.ServerCertificateConfiguration:
        shown = _read_pair(pair)
        authorities = _read_authorities(settings.client_ca)
        return grpc.ssl_server_certificate_configuration([shown], root_certificates=authorities)

    configuration = Watched(_paths(settings.certificate, settings.key, settings.client_ca), make)
    return grpc.dynamic_ssl_server_credentials(
        configuration.get(),
        _when_changed(configuration),  # type: ignore[arg-type]  # its stubs do not know of None
        require_client_authentication=settings.client_ca is not None,
    )


def channel_credentials(settings: TLSSettings) -> Watched[grpc.ChannelCredentials]:
    """What a caller shows and believes. SettingsError."""

    def make() -> grpc.ChannelCredentials:
        key, chain = _read_pair(settings.pair) if settings.pair else (None, None)
        credentials = grpc.ssl_channel_credentials(_read_authorities(settings.ca), key, chain)
        if settings.token is None:
            return credentials
        token = read(settings.token).decode(errors="replace").strip()
        return grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))

    return Watched(_paths(settings.certificate, settings.key, settings.ca, settings.token), make)


def https_context(pair: KeyPair) -> Watched[ssl.SSLContext]:
    """One context for good: new connections get what `get` has loaded into it last. SettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def make() -> ssl.SSLContext:
        _read_pair(pair)  # loading half a pair would spoil the context
        context.load_cert_chain(pair.certificate, pair.key)
        return context

    return Watched(_paths(pair.certificate, pair.key), make)


def _when_changed(
    configuration: Watched[grpc.ServerCertificateConfiguration],
) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """For grpc, which asks at each handshake and wants None while nothing is new."""
    shown = configuration.get()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        latest = configuration.get()
        if latest is shown:
            return None
        shown = latest
        return latest

    return fetch


def _read_pair(pair: KeyPair) -> tuple[bytes, bytes]:
    """Key and certificate chain; SettingsError when they do not belong together."""
    key, chain = read(pair.key), read(pair.certificate)
    try:
        # An empty password, or an encrypted key would make OpenSSL ask at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair.certificate, pair.key, password="")
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(
            f"{pair.certificate} and {pair.key} are no certificate and key: {error}"
        ) from error
    return key, chain


def _read_authorities(path: Path | None) -> bytes | None:
    """Certificates to believe; SettingsError when there are none in the file."""
    if path is None:
        return None
    authorities = read(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(f"{path} holds no certificates: {error}") from error
    return authorities


def _paths(*paths: Path | None) -> list[Path]:
    return [path for path in paths if path is not None]
