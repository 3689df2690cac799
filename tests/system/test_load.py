"""Many at once: everyone is answered or clearly refused, and what a client leaves behind is freed."""

import asyncio
import json
import sys
from collections import Counter
from contextlib import suppress

import pytest

from benchmarks.client import Client, user
from benchmarks.pictures import solids
from benchmarks.server import Server
from tests.system.waiting import until

pytestmark = pytest.mark.system

QUESTION = "描述这张图片。"
LONG_ANSWER_BLOCKS = 10
# What was said is likelier to be said again: sooner or later an answer that does not end by itself.
RAMBLING = {"temperature": 2, "frequency_penalty": -2}
READ_FOR_EVER = """
import itertools, json, sys, urllib.request
url, body = sys.argv[1], json.loads(sys.argv[2])
for seed in itertools.count():
    data = json.dumps({**body, "seed": seed}).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    for line in urllib.request.urlopen(request):
        pass
"""


async def test_fifty_pictures_at_once_get_fifty_answers(server: Server, client: Client) -> None:
    before = server.metric("vision", "autoglm_vision_encodes_total")
    questions = [[user(QUESTION, picture)] for picture in solids(50, seed=50)]
    replies = await client.ask_all(questions, max_tokens=16)
    assert Counter(reply.outcome for reply in replies) == {"answered": 50}
    assert server.metric("vision", "autoglm_vision_encodes_total") == before + 50


async def test_of_a_flood_each_is_answered_or_told_when_to_come_back(client: Client) -> None:
    questions = [[user(QUESTION, picture)] for picture in solids(250, seed=250)]
    replies = await client.ask_all(questions, max_tokens=8)
    outcomes = Counter(reply.outcome for reply in replies)
    assert outcomes.keys() == {"answered", "refused"}
    assert {reply.error["code"] for reply in replies if reply.outcome == "refused"} == {"QUEUE_FULL"}
    assert (await client.ask(*questions[-1], max_tokens=8)).outcome == "answered"


async def test_a_client_killed_mid_stream_leaves_no_blocks_behind(server: Server) -> None:
    async def held_blocks() -> float:
        free = await asyncio.to_thread(server.metric, "llm", "autoglm_llm_free_blocks")
        return server.metric("llm", "autoglm_llm_total_blocks") - free

    async def a_long_answer_is_under_way() -> bool:
        return await held_blocks() >= LONG_ANSWER_BLOCKS

    async def none_is_held() -> bool:
        return await held_blocks() == 0

    assert await none_is_held()
    body = {"model": "", "messages": [user("你好")], "stream": True, **RAMBLING}
    command = ["-c", READ_FOR_EVER, f"{server.url}/v1/chat/completions", json.dumps(body)]
    reader = await asyncio.create_subprocess_exec(sys.executable, *command)
    try:
        await until(a_long_answer_is_under_way)
    finally:
        with suppress(ProcessLookupError):
            reader.kill()
        await reader.wait()
    await until(none_is_held, timeout_s=2)
