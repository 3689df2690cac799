"""Real certificates between real servers and channels: who is served, who is not, how they are renewed."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from servicekit import watched
from servicekit.channel import open_channel
from servicekit.errors import Unavailable, from_rpc_error
from servicekit.server import RunningServer, running
from servicekit.settings import ServerSettings, SettingsError, TLSSettings
from tests.certificates import EXPIRED, Certificates
from tests.servicekit.echo import CALLS, NAME, Echo, service
from tests.servicekit.test_server import SERVING, health_of


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.create(tmp_path / "ours")


@pytest.fixture
def strangers(tmp_path: Path) -> Certificates:
    return Certificates.create(tmp_path / "theirs")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at whenever they matter."""
    monkeypatch.setattr(watched, "PERIOD_S", 0.0)


def secured(tls: TLSSettings, **settings: Any) -> ServerSettings:
    return ServerSettings(**({"port": 0, "health_port": 0, "tls": tls} | settings))


async def ask(server: RunningServer, tls: TLSSettings | None, shape: str = "unary-unary") -> str:
    async with open_channel(f"127.0.0.1:{server.port}", tls=tls) as channel:
        return await CALLS[shape](channel, b"who", timeout=3)


async def refusal(server: RunningServer, tls: TLSSettings | None) -> str:
    """What grpc says of it; the name of the error is checked here."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(server, tls)
    known = from_rpc_error(refused.value)
    assert (type(known), known.reason) == (Unavailable, "UNAVAILABLE")
    return known.message


async def test_mutual_tls_serves_whom_the_authority_knows_in_all_shapes(certificates: Certificates) -> None:
    async with running(service(Echo()), secured(certificates.mutual("speech"))) as server:
        for shape in CALLS:
            assert await ask(server, certificates.mutual("client"), shape)


async def test_plaintext_strangers_and_the_nameless_are_refused(
    certificates: Certificates, strangers: Certificates
) -> None:
    async with running(service(Echo()), secured(certificates.mutual("speech"))) as server:
        await refusal(server, None)
        await refusal(server, TLSSettings(ca=certificates.ca))
        await refusal(server, strangers.mutual("client", ca=certificates.ca))
        assert await ask(server, certificates.mutual("client"))


async def test_a_caller_refuses_a_server_of_another_authority(
    certificates: Certificates, strangers: Certificates
) -> None:
    async with running(service(Echo()), secured(certificates.mutual("speech"))) as server:
        assert "certificate" in await refusal(server, certificates.mutual("client", ca=strangers.ca))


async def test_without_client_ca_nobody_needs_a_certificate(certificates: Certificates) -> None:
    settings = secured(certificates.mutual("speech", client_ca=None))
    async with running(service(Echo()), settings) as server:
        assert await ask(server, TLSSettings(ca=certificates.ca))


async def test_health_stays_in_plaintext_for_probes(certificates: Certificates) -> None:
    async with running(service(Echo()), secured(certificates.mutual("speech"))) as server:
        assert await health_of(server.health_port, NAME) == SERVING


@pytest.mark.usefixtures("at_once")
async def test_a_replaced_server_certificate_is_shown_to_new_connections(certificates: Certificates) -> None:
    async with running(service(Echo()), secured(certificates.mutual("speech"))) as server:
        certificates.issue("speech", EXPIRED)
        assert "certificate has expired" in await refusal(server, certificates.mutual("client"))
        certificates.issue("speech")
        assert await ask(server, certificates.mutual("client"))


@pytest.mark.usefixtures("at_once")
async def test_an_open_channel_recovers_from_an_expired_server_certificate_by_itself(
    certificates: Certificates,
) -> None:
    certificates.issue("speech", EXPIRED)
    settings = secured(certificates.mutual("speech"))
    async with (
        running(service(Echo()), settings) as server,
        open_channel(f"127.0.0.1:{server.port}", tls=certificates.mutual("client")) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="certificate has expired"):
            await CALLS["unary-unary"](channel, b"who", timeout=3)
        certificates.issue("speech")
        assert await CALLS["unary-unary"](channel, b"who", timeout=5, wait_for_ready=True)


@pytest.mark.usefixtures("at_once")
async def test_an_open_channel_shows_a_renewed_client_certificate(certificates: Certificates) -> None:
    tls = certificates.mutual("client")
    async with (
        running(service(Echo()), secured(certificates.mutual("speech"))) as server,
        open_channel(f"127.0.0.1:{server.port}", tls=tls) as channel,
    ):
        certificates.issue("client", EXPIRED)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await CALLS["unary-unary"](channel, b"who", timeout=3)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        certificates.issue("client")
        for call in CALLS.values():
            assert await call(channel, b"who", timeout=3)


@pytest.mark.usefixtures("at_once")
async def test_a_call_under_way_survives_the_renewal_of_both_ends(certificates: Certificates) -> None:
    echo = Echo()
    async with (
        running(service(echo), secured(certificates.mutual("speech"))) as server,
        open_channel(f"127.0.0.1:{server.port}", tls=certificates.mutual("client")) as channel,
    ):
        under_way = asyncio.create_task(CALLS["unary-stream"](channel, b"wait"))
        await echo.started.wait()
        for name in ("speech", "client"):
            certificates.issue(name)
        assert await CALLS["unary-unary"](channel, b"who")
        echo.release.set()
        assert await under_way


@pytest.mark.usefixtures("at_once")
async def test_calls_begun_at_the_moment_of_renewal_are_all_answered(certificates: Certificates) -> None:
    async with (
        running(service(Echo()), secured(certificates.mutual("speech"))) as server,
        open_channel(f"127.0.0.1:{server.port}", tls=certificates.mutual("client")) as channel,
    ):
        for _ in range(5):
            before = [asyncio.create_task(call(channel, b"who")) for call in CALLS.values()]
            await asyncio.sleep(0)
            certificates.issue("client")
            after = [asyncio.create_task(call(channel, b"who")) for call in CALLS.values()]
            assert all(await asyncio.gather(*before, *after))


@pytest.mark.usefixtures("at_once")
async def test_half_a_renewal_changes_nothing(certificates: Certificates, strangers: Certificates) -> None:
    tls = certificates.mutual("speech")
    foreign = strangers.pair("speech")
    async with running(service(Echo()), secured(tls)) as server:
        certificates.pair("speech").key.write_bytes(foreign.key.read_bytes())
        assert await ask(server, certificates.mutual("client"))


@pytest.mark.usefixtures("at_once")
async def test_a_new_authority_is_believed_without_a_restart(
    certificates: Certificates, strangers: Certificates
) -> None:
    async with running(service(Echo()), secured(certificates.mutual("speech"))) as server:
        theirs = strangers.mutual("client", ca=certificates.ca)
        await refusal(server, theirs)
        certificates.ca.write_bytes(certificates.ca.read_bytes() + strangers.ca.read_bytes())
        assert await ask(server, theirs)


@pytest.mark.parametrize("broken", ["certificate", "key", "client_ca"])
async def test_a_file_that_cannot_be_used_prevents_the_start_by_name(
    certificates: Certificates, tmp_path: Path, broken: str
) -> None:
    junk = tmp_path / "junk.pem"
    tls = certificates.mutual("speech", **{broken: junk})
    with pytest.raises(SettingsError, match=r"junk\.pem cannot be read"):
        await RunningServer.start(service(Echo()), secured(tls))
    junk.write_text("nothing of use")
    with pytest.raises(SettingsError, match=r"junk\.pem"):
        await RunningServer.start(service(Echo()), secured(tls))


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValueError, match="certificate and key come together"):
        TLSSettings(certificate=Path("a.pem"))
    with pytest.raises(ValueError, match="tls needs certificate and key"):
        secured(TLSSettings(ca=Path("ca.pem")))
