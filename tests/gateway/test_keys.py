"""With API keys the door is shut for all without one, and only probes pass."""

from pathlib import Path
from typing import Any

import openai
import pytest
from structlog.testing import capture_logs

from servicekit import watched
from servicekit.keys import hash_of, new_key
from tests.gateway.conftest import CHAT, Gateway, StartGateway

PHONE, TABLET = new_key(), new_key()
KEYS = {"api_keys": {"hashes": {"phone": hash_of(PHONE), "tablet": hash_of(TABLET)}}}


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def openai_client(gateway: Gateway, key: str) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(
        base_url=f"{gateway.server.url}/v1", api_key=key, http_client=http, max_retries=0
    )


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "Send an API key"),
        ({"Authorization": f"Basic {PHONE}"}, "Send an API key"),
        (bearing("sk-autoglm-wrong"), "not known"),
        (bearing(hash_of(PHONE)), "not known"),
    ],
    ids=["none", "another scheme", "wrong", "the hash itself"],
)
async def test_without_a_right_key_every_path_is_401_in_the_envelope(
    start_gateway: StartGateway, headers: dict[str, str], said: str
) -> None:
    async with start_gateway(**KEYS) as gateway:
        for path in (CHAT, "/v1/models", "/v1/no-such-thing", "/docs", "/openapi.json"):
            response = await gateway.http.request("POST" if path == CHAT else "GET", path, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            error = response.json()["error"]
            assert (error["code"], error["type"]) == ("invalid_api_key", "authentication_error")
            assert said in error["message"]
            assert response.headers["x-request-id"]


async def test_each_key_opens_and_its_holder_is_in_the_log(start_gateway: StartGateway) -> None:
    async with start_gateway(**KEYS) as gateway:
        for key, holder in ((PHONE, "phone"), (TABLET, "tablet")):
            with capture_logs() as lines:
                assert (await gateway.http.get("/v1/models", headers=bearing(key))).status_code == 200
            [line] = [line for line in lines if line["event"] == "GET /v1/models"]
            assert line["caller"] == holder
            assert key not in repr(lines)


async def test_the_openai_client_is_let_in_with_its_key(start_gateway: StartGateway) -> None:
    async with start_gateway(**KEYS) as gateway:
        async with openai_client(gateway, PHONE) as client:
            assert (await client.models.list()).data
        async with openai_client(gateway, "sk-wrong") as client:
            with pytest.raises(openai.AuthenticationError) as refused:
                await client.models.list()
            assert refused.value.code == "invalid_api_key"


@pytest.mark.parametrize(("needed", "status"), [(False, 200), (True, 401)])
async def test_probes_stay_open_and_metrics_unless_closed(
    start_gateway: StartGateway, needed: bool, status: int
) -> None:
    async with start_gateway(**KEYS, metrics_need_key=needed) as gateway:
        for path in ("/health/live", "/health/ready"):
            assert (await gateway.http.get(path)).status_code == 200
        assert (await gateway.http.get("/metrics")).status_code == status
        assert (await gateway.http.get("/metrics", headers=bearing(PHONE))).status_code == 200


async def test_a_key_in_the_file_can_be_withdrawn_while_running(
    start_gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "PERIOD_S", 0.0)
    file = tmp_path / "keys"
    file.write_text(f"phone {hash_of(PHONE)}\n")
    settings: dict[str, Any] = {"api_keys": {"file": file}}
    async with start_gateway(**settings) as gateway:
        assert (await gateway.http.get("/v1/models", headers=bearing(PHONE))).status_code == 200
        file.write_text(f"tablet {hash_of(TABLET)}\n")
        assert (await gateway.http.get("/v1/models", headers=bearing(PHONE))).status_code == 401
        assert (await gateway.http.get("/v1/models", headers=bearing(TABLET))).status_code == 200


async def test_without_configured_keys_everybody_is_served(start_gateway: StartGateway) -> None:
    async with start_gateway() as gateway:
        assert (await gateway.http.get("/v1/models", headers=bearing("anything"))).status_code == 200
