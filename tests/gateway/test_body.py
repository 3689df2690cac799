"""Bodies within bounds, and clients that leave: before, while and after they have asked."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.gateway.conftest import CHAT, HELLO, Gateway, StartGateway
from tests.gateway.scripted_llm import PAUSE, ScriptedLLM, said

LIMIT = 4096
MEGABYTE = 1 << 20


@pytest.fixture
async def narrow(start_gateway: StartGateway) -> AsyncIterator[Gateway]:
    async with start_gateway(max_body_bytes=LIMIT) as gateway:
        yield gateway


def padded(size: int) -> bytes:
    body = json.dumps(HELLO).encode()
    return body + b" " * (size - len(body))


async def connect(gateway: Gateway, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of its own that has sent the head of a chat request."""
    url = httpx.URL(gateway.server.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: gateway\r\n{head}\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def test_a_body_of_exactly_the_limit_is_read(narrow: Gateway) -> None:
    assert (await narrow.http.post(CHAT, content=padded(LIMIT))).status_code == 200


async def test_one_byte_more_is_refused(narrow: Gateway) -> None:
    response = await narrow.http.post(CHAT, content=padded(LIMIT + 1))
    assert response.status_code == 413
    error = response.json()["error"]
    assert (error["code"], error["type"]) == ("request_too_large", "invalid_request_error")


async def test_a_body_announced_too_large_is_refused_before_it_is_sent(narrow: Gateway) -> None:
    reader, writer = await connect(narrow, f"Content-Length: {10**12}")
    assert b" 413 " in await reader.readline()
    writer.close()


async def test_an_endless_body_in_chunks_is_refused_while_it_is_sent(narrow: Gateway) -> None:
    reader, writer = await connect(narrow, "Transfer-Encoding: chunked")
    for _ in range(2):
        writer.write(b"%x\r\n" % LIMIT + b" " * LIMIT + b"\r\n")
    await writer.drain()
    assert b" 413 " in await reader.readline()
    writer.close()


async def test_the_server_goes_on_after_refusing_a_body(narrow: Gateway) -> None:
    assert (await narrow.http.post(CHAT, content=padded(MEGABYTE))).status_code == 413
    assert (await narrow.ask()).status_code == 200


async def test_bodies_are_bounded_together_until_their_first_token(
    start_gateway: StartGateway, llm: ScriptedLLM
) -> None:
    async with start_gateway(
        max_body_bytes=LIMIT, max_upload_bytes=LIMIT, max_total_body_bytes=LIMIT
    ) as gateway:
        llm.will(PAUSE)
        waiting = asyncio.create_task(gateway.http.post(CHAT, content=padded(LIMIT)))
        await llm.waiting.wait()
        refused = await gateway.ask()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "QUEUE_FULL")
        assert refused.headers["Retry-After"] == "1"
        waiting.cancel()
        await llm.cancelled.wait()
        async with asyncio.timeout(2):
            while (await gateway.ask()).status_code == 429:
                await asyncio.sleep(0.01)


async def test_a_client_that_leaves_while_it_asks_is_no_fault_of_ours(
    gateway: Gateway, llm: ScriptedLLM, caplog: pytest.LogCaptureFixture
) -> None:
    async def abandoned() -> str:
        counted = 'autoglm_http_requests_total{route="/v1/chat/completions",status="499"}'
        lines = (await gateway.http.get("/metrics")).text.splitlines()
        return next((line for line in lines if line.startswith(counted)), "")

    before = await abandoned()
    _, writer = await connect(gateway, "Content-Length: 100")
    writer.write(b"{")
    await writer.drain()
    writer.close()
    async with asyncio.timeout(5):
        while await abandoned() == before:
            await asyncio.sleep(0.01)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert llm.requests == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_client_that_leaves_before_the_first_token_cancels_the_call(
    stream: bool, llm: ScriptedLLM, gateway: Gateway
) -> None:
    llm.will(PAUSE)
    asking = asyncio.create_task(gateway.ask(stream=stream))
    await llm.waiting.wait()
    asking.cancel()
    await asyncio.wait_for(llm.cancelled.wait(), 2)


async def test_a_client_that_leaves_a_stream_cancels_the_call(llm: ScriptedLLM, gateway: Gateway) -> None:
    llm.will(said("红"), PAUSE)
    async with gateway.stream() as response:
        await anext(response.aiter_lines())
        await llm.waiting.wait()
    await asyncio.wait_for(llm.cancelled.wait(), 2)
