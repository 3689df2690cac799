"""How the gateway calls the services: what it tries again, what it remembers, when it gives up."""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import grpc
import pytest

from autoglm.llm.v1 import llm_pb2
from gateway.clients import Clients, Model
from gateway.settings import GatewaySettings
from servicekit.breaker import PAUSE_S, THRESHOLD
from servicekit.errors import DeadlineExceeded, ResourceExhausted, ServiceError, Unavailable
from servicekit.server import RunningServer
from servicekit.settings import ServerSettings
from tests.gateway.scripted_llm import ANSWER, MODEL, PAUSE, ScriptedLLM, said

GONE = grpc.StatusCode.UNAVAILABLE
QUESTION = llm_pb2.GenerateRequest(enable_thinking=True)
Connect = Callable[..., Clients]


@pytest.fixture
async def connect(llm: ScriptedLLM) -> AsyncIterator[Connect]:
    opened: list[Clients] = []

    def connect(**settings: Any) -> Clients:
        health = f"127.0.0.1:{llm.health_port}"
        defaults = {
            "llm_target": f"127.0.0.1:{llm.port}",
            "llm_health_target": health,
            "vision_health_target": "",
            "speech_health_target": "",
        }
        opened.append(Clients(GatewaySettings(**{**defaults, **settings})))
        return opened[-1]

    yield connect
    for clients in opened:
        await clients.__aexit__()


@pytest.fixture
def nobody() -> str:
    """An address where nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


async def heard(clients: Clients) -> list[llm_pb2.GenerateResponse]:
    return [event async for event in clients.llm.generate(QUESTION)]


async def refusal(clients: Clients) -> ServiceError:
    with pytest.raises(ServiceError) as refused:
        await heard(clients)
    return refused.value


async def test_an_answer_arrives_as_it_was_said(llm: ScriptedLLM, connect: Connect) -> None:
    assert await heard(connect()) == list(ANSWER)
    assert llm.requests == [QUESTION]


async def test_the_deadline_of_the_settings_is_sent_along(llm: ScriptedLLM, connect: Connect) -> None:
    await heard(connect(request_timeout_s=7))
    assert llm.seconds_left == [pytest.approx(7, abs=1)]


async def test_an_answer_that_takes_too_long_is_given_up(llm: ScriptedLLM, connect: Connect) -> None:
    llm.will(PAUSE)
    assert isinstance(await refusal(connect(request_timeout_s=0.2)), DeadlineExceeded)
    await llm.cancelled.wait()


async def test_a_service_that_was_gone_for_a_moment_is_asked_again(
    llm: ScriptedLLM, connect: Connect
) -> None:
    llm.will(GONE)
    llm.will(GONE)
    assert await heard(connect(retries=2)) == list(ANSWER)
    assert len(llm.requests) == 3


async def test_it_is_not_asked_for_ever(llm: ScriptedLLM, connect: Connect) -> None:
    for _ in range(3):
        llm.will(GONE)
    error = await refusal(connect(retries=1))
    assert (error.reason, error.retry_after_s) == ("LLM_UNAVAILABLE", 1.0)
    assert len(llm.requests) == 2


async def test_nothing_is_asked_twice_once_something_was_said(llm: ScriptedLLM, connect: Connect) -> None:
    llm.will(said("红"), GONE)
    async with aclosing(connect().llm.generate(QUESTION)) as events:
        assert await anext(events) == said("红")
        with pytest.raises(Unavailable, match="cannot be reached"):
            await anext(events)
    assert len(llm.requests) == 1


@pytest.mark.parametrize(
    "error",
    [
        ResourceExhausted("QUEUE_FULL", "Later.", retry_after_s=3.0),
        Unavailable("VISION_UNAVAILABLE", "It is the other one.", retry_after_s=1.0),
    ],
    ids=lambda error: error.reason,
)
async def test_what_the_service_itself_refuses_is_not_asked_again(
    llm: ScriptedLLM, connect: Connect, error: ServiceError
) -> None:
    llm.will(error)
    refused = await refusal(connect())
    assert (refused.reason, refused.retry_after_s) == (error.reason, error.retry_after_s)
    assert len(llm.requests) == 1


async def test_a_service_that_is_not_there_is_named(connect: Connect, nobody: str) -> None:
    clients = connect(llm_target=nobody, retries=0)
    assert (await refusal(clients)).reason == "LLM_UNAVAILABLE"
    with pytest.raises(Unavailable, match="The llm service cannot be reached"):
        await clients.llm.model()


async def test_a_service_that_stays_away_is_left_alone_for_a_while(
    llm: ScriptedLLM, connect: Connect
) -> None:
    clients = connect(retries=0)
    for _ in range(THRESHOLD):
        llm.will(GONE)
        await refusal(clients)
    assert (await refusal(clients)).reason == "LLM_UNAVAILABLE"
    assert len(llm.requests) == THRESHOLD
    await asyncio.sleep(PAUSE_S)
    assert await heard(clients) == list(ANSWER)


async def test_a_service_that_misses_another_is_not_left_alone(llm: ScriptedLLM, connect: Connect) -> None:
    clients = connect(retries=0)
    for _ in range(THRESHOLD):
        llm.will(Unavailable("VISION_UNAVAILABLE", "It is the other one."))
        await refusal(clients)
    assert await heard(clients) == list(ANSWER)


async def test_leaving_an_answer_cancels_the_call(llm: ScriptedLLM, connect: Connect) -> None:
    llm.will(said("红"), PAUSE)
    async with aclosing(connect().llm.generate(QUESTION)) as events:
        assert await anext(events) == said("红")
    await llm.cancelled.wait()


async def test_the_model_is_asked_for_once_and_again_when_wanted(llm: ScriptedLLM, connect: Connect) -> None:
    client = connect().llm
    assert await client.model() == await client.model() == Model(MODEL, 512)
    assert llm.model_calls == 1
    await client.model(fresh=True)
    assert llm.model_calls == 2


async def test_a_refusal_to_describe_the_model_is_not_remembered(llm: ScriptedLLM, connect: Connect) -> None:
    client = connect().llm
    llm.model_refusal = Unavailable("MODEL_UNAVAILABLE", "Still loading.")
    with pytest.raises(Unavailable, match="Still loading"):
        await client.model()
    llm.model_refusal = None
    assert (await client.model()).name == MODEL


async def test_health_tells_the_ready_from_the_absent(connect: Connect, nobody: str) -> None:
    assert await connect(vision_health_target=nobody).health.ready() == {"llm": True, "vision": False}


async def test_a_service_that_still_warms_up_is_not_ready(llm: ScriptedLLM, connect: Connect) -> None:
    warming_up, is_warm = asyncio.Event(), asyncio.Event()

    async def warm_up() -> None:
        warming_up.set()
        await is_warm.wait()

    service = dataclasses.replace(ScriptedLLM().service, warm_up=warm_up)
    server = RunningServer(service, ServerSettings(port=0, health_port=0))
    starting = asyncio.create_task(server.run_up())
    await warming_up.wait()
    health = connect(llm_health_target=f"127.0.0.1:{server.health_port}").health
    assert await health.ready() == {"llm": False}
    is_warm.set()
    await starting
    assert await health.ready() == {"llm": True}
    await server.stop(0)
