"""Who calls is known by certificate or token; who may not call is told why."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from servicekit import watched
from servicekit.channel import open_channel
from servicekit.errors import Internal, from_rpc_error
from servicekit.keys import hash_of, new_key
from servicekit.server import running
from servicekit.settings import CallerSettings, KeySettings, ServerSettings, SettingsError, TLSSettings
from tests.certificates import Certificates
from tests.servicekit.echo import CALLS, Echo, service

PHONE, TABLET = new_key(), new_key()
TOKENS = {"tokens": {"hashes": {"phone": hash_of(PHONE), "tablet": hash_of(TABLET)}}}
Metadata = tuple[tuple[str, str], ...]


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates.create(tmp_path / "certs")


@asynccontextmanager
async def served(
    callers: dict[str, Any], tls: TLSSettings | None = None, caller_tls: TLSSettings | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    settings = ServerSettings(port=0, health_port=0, tls=tls, callers=CallerSettings.model_validate(callers))
    async with (
        running(service(Echo()), settings) as server,
        open_channel(f"127.0.0.1:{server.port}", tls=caller_tls) as channel,
    ):
        yield channel


def bearing(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


async def refusal(channel: grpc.aio.Channel, metadata: Metadata = ()) -> tuple[grpc.StatusCode, str]:
    """Code and reason, the same for all shapes."""
    seen = set()
    for call in CALLS.values():
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel, b"who", metadata=metadata, timeout=3)
        seen.add((refused.value.code(), from_rpc_error(refused.value).reason))
    [only] = seen
    return only


async def test_a_known_token_opens_and_its_holder_is_in_the_log() -> None:
    async with served(TOKENS) as channel:
        for call in CALLS.values():
            with capture_logs() as lines:
                assert await call(channel, b"who", metadata=bearing(TABLET))
            assert [line["caller"] for line in lines if "ms" in line] == ["tablet"]


async def test_without_a_token_the_caller_is_unknown() -> None:
    async with served(TOKENS) as channel:
        assert await refusal(channel) == (grpc.StatusCode.UNAUTHENTICATED, "CALLER_UNKNOWN")


@pytest.mark.parametrize(
    "header",
    ["Bearer wrong", f"Basic {PHONE}", "Bearer", PHONE, f"Bearer {PHONE}x"],
    ids=["another", "not-bearer", "no-token", "bare", "longer"],
)
async def test_a_wrong_token_is_invalid(header: str) -> None:
    async with served(TOKENS) as channel:
        metadata = (("authorization", header),)
        assert await refusal(channel, metadata) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")


async def test_only_callers_on_the_list_are_served() -> None:
    async with served({**TOKENS, "allowed": ["phone"]}) as channel:
        assert await CALLS["unary-unary"](channel, b"who", metadata=bearing(PHONE))
        refused = await refusal(channel, bearing(TABLET))
        assert refused == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")


async def test_the_name_in_the_client_certificate_counts(certificates: Certificates) -> None:
    callers, tls = {"allowed": ["llm"]}, certificates.mutual("vision")
    async with served(callers, tls, certificates.mutual("llm")) as channel:
        with capture_logs() as lines:
            assert await CALLS["unary-unary"](channel, b"who")
        assert [line["caller"] for line in lines if "ms" in line] == ["llm"]
    async with served(callers, tls, certificates.mutual("client")) as channel:
        assert await refusal(channel) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")


async def test_a_name_that_all_certificates_share_lets_nobody_in(certificates: Certificates) -> None:
    callers = {"allowed": ["localhost"]}
    async with served(callers, certificates.mutual("vision"), certificates.mutual("client")) as channel:
        assert await refusal(channel) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")


async def test_a_certificate_stands_in_for_a_token_but_not_for_a_wrong_one(
    certificates: Certificates,
) -> None:
    async with served(TOKENS, certificates.mutual("vision"), certificates.mutual("llm")) as channel:
        assert await CALLS["unary-unary"](channel, b"who")
        refused = await refusal(channel, bearing("wrong"))
        assert refused == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")


async def test_a_process_sends_the_token_in_its_file_and_takes_up_a_new_one(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "PERIOD_S", 0.0)
    token = tmp_path / "token"
    token.write_text("not yet known\n")
    tls = certificates.mutual("vision", client_ca=None)
    async with served(TOKENS, tls, TLSSettings(ca=certificates.ca, token=token)) as channel:
        assert await refusal(channel) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
        token.write_text(f"{PHONE}\n")
        for call in CALLS.values():
            assert await call(channel, b"who")


async def test_a_refusal_of_us_is_not_passed_on_as_a_fault_of_whom_we_serve() -> None:
    async with served(TOKENS) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await CALLS["unary-unary"](channel, b"who")
    known = from_rpc_error(refused.value)
    assert (type(known), known.reason) == (Internal, "CALLER_UNKNOWN")


async def test_where_no_names_are_asked_for_everybody_is_served() -> None:
    async with served({}) as channel:
        assert await CALLS["unary-unary"](channel, b"who", metadata=bearing("of no account"))


async def test_a_missing_file_of_tokens_prevents_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere cannot be read"):
        async with served({"tokens": {"file": tmp_path / "nowhere"}}):
            pass


def test_a_list_of_names_without_names_is_refused() -> None:
    with pytest.raises(ValueError, match=r"callers\.allowed needs names"):
        ServerSettings(port=0, health_port=0, callers=CallerSettings(allowed=("llm",)))
    known = CallerSettings(allowed=("phone",), tokens=KeySettings.model_validate(TOKENS["tokens"]))
    assert ServerSettings(port=0, health_port=0, callers=known).callers == known
