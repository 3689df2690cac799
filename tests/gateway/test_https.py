"""HTTPS to clients, mutual TLS to the services, and certificates that are renewed while running."""

import ssl
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from servicekit import watched
from servicekit.server import running
from servicekit.settings import ServerSettings
from tests.certificates import EXPIRED, Certificates
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.scripted_llm import ScriptedLLM
from tests.system.waiting import until


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.create(tmp_path / "certs")


async def models(gateway: Gateway, certificates: Certificates) -> httpx.Response:
    """Over a connection of its own."""
    trust = ssl.create_default_context(cafile=certificates.ca)
    async with httpx.AsyncClient(base_url=gateway.server.url, verify=trust, trust_env=False) as http:
        return await http.get("/v1/models")


async def test_a_renewed_certificate_is_shown_to_new_connections(
    start_gateway: StartGateway, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "PERIOD_S", 0.0)
    async with start_gateway(https=certificates.pair("gateway")) as gateway:
        assert gateway.server.url.startswith("https://")
        assert (await models(gateway, certificates)).status_code == 200

        async def expired() -> bool:
            try:
                await models(gateway, certificates)
            except httpx.ConnectError as error:
                return "certificate has expired" in str(error)
            return False

        async def served() -> bool:
            return not await expired()

        certificates.issue("gateway", EXPIRED)
        await until(expired, timeout_s=5)
        certificates.issue("gateway")
        await until(served, timeout_s=5)


async def test_half_a_renewal_changes_nothing(
    start_gateway: StartGateway, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "PERIOD_S", 0.0)
    pair, foreign = certificates.pair("gateway"), Certificates.create(tmp_path / "theirs").pair("gateway")
    async with start_gateway(https=pair) as gateway:
        with capture_logs() as lines:
            pair.certificate.write_bytes(foreign.certificate.read_bytes())

            async def noticed() -> bool:
                return any("cannot be used" in line["event"] for line in lines)

            await until(noticed, timeout_s=5)
        assert (await models(gateway, certificates)).status_code == 200


async def test_plain_http_is_not_spoken_on_an_https_port(
    start_gateway: StartGateway, certificates: Certificates
) -> None:
    async with start_gateway(https=certificates.pair("gateway")) as gateway, httpx.AsyncClient() as http:
        with pytest.raises(httpx.TransportError):
            await http.get(gateway.server.url.replace("https", "http") + "/health/live")


async def test_an_expired_certificate_of_the_llm_service_is_named_and_got_over(
    start_gateway: StartGateway, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "PERIOD_S", 0.0)
    certificates.issue("llm", EXPIRED)
    llm = ScriptedLLM()
    settings = ServerSettings(port=0, health_port=0, tls=certificates.mutual("llm"))
    async with (
        running(llm.service, settings) as server,
        start_gateway(
            llm_target=f"127.0.0.1:{server.port}",
            llm_health_target=f"127.0.0.1:{server.health_port}",
            tls=certificates.mutual("gateway"),
            retries=0,
        ) as gateway,
    ):
        refused = await gateway.ask()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "LLM_UNAVAILABLE")
        certificates.issue("llm")

        async def served() -> bool:
            return (await gateway.ask()).status_code == 200

        await until(served, timeout_s=10)
