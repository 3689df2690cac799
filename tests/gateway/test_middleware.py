"""Request id in and out, the trace passed on, one line in the log."""

import asyncio

import pytest

from gateway.clients import LLMClient
from tests.gateway.conftest import Gateway
from tests.gateway.scripted_llm import ScriptedLLM
from tests.servicekit.logs import logged

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_a_request_id_is_kept_passed_on_and_sent_back(llm: ScriptedLLM, gateway: Gateway) -> None:
    gateway.http.headers["X-Request-Id"] = "phone-17.a_b"
    response = await gateway.ask()
    assert response.headers["x-request-id"] == "phone-17.a_b"
    assert llm.metadata[0]["x-request-id"] == "phone-17.a_b"


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, 'quo"te'])
async def test_without_a_sound_request_id_a_new_one_is_made(
    given: str | None, llm: ScriptedLLM, gateway: Gateway
) -> None:
    if given is not None:
        gateway.http.headers["X-Request-Id"] = given
    made = (await gateway.ask()).headers["x-request-id"]
    assert made != given
    assert len(made) == 32
    assert llm.metadata[0]["x-request-id"] == made


async def test_requests_at_the_same_time_keep_their_ids_apart(llm: ScriptedLLM, gateway: Gateway) -> None:
    responses = await asyncio.gather(*(gateway.ask() for _ in range(8)))
    answered = {response.headers["x-request-id"] for response in responses}
    assert len(answered) == 8
    assert answered == {response.json()["autoglm"]["request_id"] for response in responses}
    assert answered == {metadata["x-request-id"] for metadata in llm.metadata}


async def test_the_trace_of_the_client_goes_on_in_the_service(llm: ScriptedLLM, gateway: Gateway) -> None:
    gateway.http.headers["traceparent"] = f"00-{TRACE}-00f067aa0ba902b7-01"
    await gateway.ask()
    assert str(llm.metadata[0]["traceparent"]).split("-")[1] == TRACE


async def test_a_fault_of_ours_still_carries_the_request_id(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of this house")

    monkeypatch.setattr(LLMClient, "model", breaks)
    response = await gateway.ask()
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "INTERNAL"
    assert "secret" not in response.text
    assert len(response.headers["x-request-id"]) == 32
    counted = 'autoglm_http_requests_total{route="/v1/chat/completions",status="500"}'
    assert counted in (await gateway.http.get("/metrics")).text


async def test_an_unknown_address_is_counted_under_one_name(gateway: Gateway) -> None:
    await gateway.http.get("/made/up/by/a/scanner")
    metrics = (await gateway.http.get("/metrics")).text
    assert 'autoglm_http_requests_total{route="unknown",status="404"}' in metrics
    assert "scanner" not in metrics


async def test_the_log_tells_what_was_asked_for_but_never_what_was_said(gateway: Gateway) -> None:
    with logged() as lines:
        await gateway.ask(messages=[{"role": "user", "content": "my secret"}])
        await gateway.http.get("/nowhere%0Aa forged line")
        await gateway.http.get("/health/live")
    log = lines.getvalue()
    assert "POST /v1/chat/completions" in log
    assert "status=200" in log
    assert "GET /nowhere%0Aa%20forged%20line" in log
    assert "secret" not in log
    assert "GET /health/live" not in log  # the client logs whole URLs
