"""The HTTP surface on a real socket: answers, streams, refusals, models, health, metrics."""

import dataclasses
from typing import Any

import grpc
import pytest

from autoglm.llm.v1 import llm_pb2
from servicekit.errors import (
    DeadlineExceeded,
    InvalidArgument,
    ResourceExhausted,
    ServiceError,
    Unavailable,
    Unimplemented,
)
from servicekit.server import running
from servicekit.settings import ServerSettings
from tests.gateway.conftest import HELLO, Gateway, StartGateway
from tests.gateway.scripted_llm import CLOSED, MODEL, OPENED, ScriptedLLM, finish, said, thought

INTERNAL = {
    "message": "Something went wrong here; the request id finds it in the log.",
    "type": "server_error",
    "param": None,
    "code": "INTERNAL",
}


def deltas(events: list[Any]) -> list[dict[str, Any]]:
    return [event["choices"][0]["delta"] for event in events if event != "[DONE]" and event["choices"]]


async def test_an_answer_is_whole_and_carries_its_usage(gateway: Gateway) -> None:
    response = await gateway.ask()
    assert response.status_code == 200
    completion = response.json()
    assert completion["choices"][0]["message"]["content"] == "红苹果"
    assert completion["usage"]["total_tokens"] == 12
    assert completion["model"] == MODEL
    assert completion["autoglm"]["request_id"] == response.headers["x-request-id"]


async def test_a_stream_begins_with_the_role_and_ends_with_done(gateway: Gateway) -> None:
    events = await gateway.events()
    assert events.pop() == "[DONE]"
    assert deltas(events) == [
        {"role": "assistant", "content": ""},
        {"content": "红"},
        {"content": "苹果"},
        {},
    ]
    last: Any = events[-1]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["autoglm"]["gate_weights"][0]["image"] == 0.75
    assert not any("usage" in event for event in events)


async def test_a_stream_is_not_held_back_by_anyone_between(gateway: Gateway) -> None:
    async with gateway.stream() as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        await response.aread()


async def test_the_usage_of_a_stream_comes_last_when_asked_for(gateway: Gateway) -> None:
    *chunks, usage, done = await gateway.events(stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert isinstance(usage, dict)
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 12
    assert all(isinstance(chunk, dict) and chunk["usage"] is None for chunk in chunks)


async def test_pieces_arrive_as_they_are_said(llm: ScriptedLLM, gateway: Gateway) -> None:
    llm.will(said("红"), "pause", said("苹果"), finish())
    async with gateway.stream() as response:
        lines = response.aiter_lines()
        while "红" not in await anext(lines):
            pass
        await llm.waiting.wait()
        llm.release.set()
        assert "data: [DONE]" in [line async for line in lines]


@pytest.mark.parametrize("stream", [False, True])
async def test_thoughts_are_split_off_when_asked(stream: bool, llm: ScriptedLLM, gateway: Gateway) -> None:
    llm.will(OPENED, thought("看"), CLOSED, said("红"), finish())
    keys = {"enable_thinking": True, "return_reasoning": True}
    if stream:
        _, first, second, _ = deltas(await gateway.events(**keys))
        assert first == {"reasoning_content": "看", "reasoning": "看"}
        assert second == {"content": "红"}
    else:
        message = (await gateway.ask(**keys)).json()["choices"][0]["message"]
        assert message == {
            "role": "assistant",
            "content": "红",
            "refusal": None,
            "reasoning_content": "看",
            "reasoning": "看",
        }
    assert llm.requests[0].enable_thinking


REFUSALS: list[tuple[ServiceError, int, str | None]] = [
    (InvalidArgument("IMAGE_TRUNCATED", "It ends early.", field="messages[0].parts[0]"), 400, None),
    (InvalidArgument("PARAMETER_OUT_OF_RANGE", "Too hot.", field="sampling.temperature"), 400, None),
    (ResourceExhausted("QUEUE_FULL", "Later.", retry_after_s=3), 429, "3"),
    (Unimplemented("MODALITY_UNSUPPORTED", "It is deaf."), 501, None),
    (Unavailable("VISION_UNAVAILABLE", "It is blind.", retry_after_s=1), 503, "1"),
    (DeadlineExceeded("DEADLINE_EXCEEDED", "Too late."), 504, None),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "status", "retry_after"), REFUSALS, ids=[e.reason for e, *_ in REFUSALS])
async def test_a_refusal_before_the_first_token_is_an_http_status(
    stream: bool,
    error: ServiceError,
    status: int,
    retry_after: str | None,
    llm: ScriptedLLM,
    gateway: Gateway,
) -> None:
    llm.will(error)
    response = await gateway.ask(stream=stream)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert response.headers.get("retry-after") == retry_after
    said = response.json()["error"]
    assert (said["code"], said["message"]) == (error.reason, error.message)
    params = {"messages[0].parts[0]": "messages[0].content", "sampling.temperature": "temperature"}
    assert said["param"] == params.get(error.field or "")


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Unavailable("SHUTTING_DOWN", "Going away."), "SHUTTING_DOWN"),
        (RuntimeError("a secret of this house"), "INTERNAL"),
        (grpc.StatusCode.UNAVAILABLE, "LLM_UNAVAILABLE"),
    ],
)
async def test_a_stream_that_fails_ends_with_an_error_and_no_done(
    failure: Any, code: str, llm: ScriptedLLM, gateway: Gateway
) -> None:
    llm.will(said("红"), failure)
    *_, before, last = await gateway.events()
    assert deltas([before]) == [{"content": "红"}]
    assert isinstance(last, dict)
    assert last["error"]["code"] == code
    assert "secret" not in str(last)


@pytest.mark.parametrize("rest", [[], [finish(llm_pb2.FINISH_REASON_UNSPECIFIED)]], ids=["no end", "odd end"])
async def test_an_answer_that_ends_against_the_contract_is_no_answer(
    rest: list[llm_pb2.GenerateResponse], llm: ScriptedLLM, gateway: Gateway
) -> None:
    llm.will(said("红"), *rest)
    assert (await gateway.events())[-1] == {"error": INTERNAL}
    llm.will(said("红"), *rest)
    response = await gateway.ask()
    assert (response.status_code, response.json()) == (500, {"error": INTERNAL})


async def test_a_stream_without_any_event_is_a_500(llm: ScriptedLLM, gateway: Gateway) -> None:
    llm.will()
    response = await gateway.ask(stream=True)
    assert (response.status_code, response.json()) == (500, {"error": INTERNAL})


async def test_a_wrong_request_never_reaches_the_service(llm: ScriptedLLM, gateway: Gateway) -> None:
    response = await gateway.ask(temperature="hot")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "temperature"
    malformed = await gateway.http.post("/v1/chat/completions", content=b"{")
    assert (malformed.status_code, malformed.json()["error"]["code"]) == (400, "invalid_json")
    assert llm.requests == []


@pytest.mark.parametrize("name", ["", MODEL, "autoglm", "autoglm-phone-9b"])
async def test_the_model_answers_to_its_name_and_its_aliases(name: str, gateway: Gateway) -> None:
    assert (await gateway.ask(model=name)).json()["model"] == MODEL


async def test_another_model_is_a_404(llm: ScriptedLLM, gateway: Gateway) -> None:
    response = await gateway.ask(model="gpt-4o")
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert llm.requests == []


async def test_the_model_is_listed_and_described(gateway: Gateway) -> None:
    (card,) = (await gateway.http.get("/v1/models")).json()["data"]
    assert (card["id"], card["object"], card["max_model_len"]) == (MODEL, "model", 512)
    assert (await gateway.http.get("/v1/models/")).json()["data"] == [card]
    assert (await gateway.http.get(f"/v1/models/{MODEL}")).json() == card
    assert (await gateway.http.get("/v1/models/autoglm")).json() == card
    missing = await gateway.http.get("/v1/models/THUDM/glm-4")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_without_the_service_nothing_is_listed(llm: ScriptedLLM, gateway: Gateway) -> None:
    llm.model_refusal = Unavailable("MODEL_UNAVAILABLE", "Still loading.")
    response = await gateway.http.get("/v1/models")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "MODEL_UNAVAILABLE")
    assert (await gateway.ask()).status_code == 503


async def test_an_unknown_address_speaks_the_envelope(gateway: Gateway) -> None:
    unknown = await gateway.http.get("/v2/chat")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_url")
    wrong = await gateway.http.get("/v1/chat/completions")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"


async def test_ready_when_all_are(gateway: Gateway) -> None:
    response = await gateway.http.get("/health/ready")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "degraded": [], "services": {"llm": True}}


async def test_degraded_services_are_named(start_gateway: StartGateway) -> None:
    vision = dataclasses.replace(ScriptedLLM().service, name="autoglm.vision.v1.VisionService")
    async with running(vision, ServerSettings(port=0, health_port=0)) as server:
        target = f"127.0.0.1:{server.health_port}"
        async with start_gateway(vision_health_target=target, speech_health_target=target) as gateway:
            response = await gateway.http.get("/health/ready")
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["degraded"] == ["speech"]


async def test_without_the_llm_nothing_is_ready_but_the_gateway_lives(start_gateway: StartGateway) -> None:
    async with start_gateway(llm_health_target="127.0.0.1:1") as gateway:
        ready = await gateway.http.get("/health/ready")
        live = await gateway.http.get("/health/live")
    assert ready.status_code == 503
    assert (ready.json()["status"], ready.json()["degraded"]) == ("unavailable", ["llm"])
    assert (live.status_code, live.json()) == (200, {"status": "alive"})


async def test_metrics_count_requests_and_tokens(gateway: Gateway) -> None:
    async def counts() -> dict[str, float]:
        text = (await gateway.http.get("/metrics")).text
        lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith("autoglm_"))
        return {name: float(value) for name, _, value in lines}

    answered = 'autoglm_http_requests_total{route="/v1/chat/completions",status="200"}'
    await gateway.ask()
    before = await counts()
    await gateway.ask()
    await gateway.events()
    after = await counts()
    grown = {name: after[name] - before[name] for name in before}
    assert grown[answered] == 2
    assert grown["autoglm_first_token_seconds_count"] == 2
    assert grown['autoglm_tokens_total{kind="prompt"}'] == 14
    assert grown['autoglm_tokens_total{kind="completion"}'] == 10
    assert after["autoglm_active_streams"] == 0


async def test_the_conversation_arrives_in_the_contracts_words(llm: ScriptedLLM, gateway: Gateway) -> None:
    await gateway.ask(temperature=0.5, stop=["。"])
    (request,) = llm.requests
    (message,) = request.messages
    assert message.parts[0].text == HELLO["messages"][0]["content"]
    assert (request.sampling.temperature, list(request.sampling.stop)) == (0.5, ["。"])
