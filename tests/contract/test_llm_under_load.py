"""Many callers, callers that leave, deadlines, a step that hangs, and what is measured of it."""

import asyncio
import threading
import time
from pathlib import Path

import grpc
import pytest
from prometheus_client import REGISTRY

from autoglm.llm.v1 import llm_pb2, llm_pb2_grpc
from servicekit.errors import from_rpc_error
from servicekit.server import running
from services.llm.engine.request import Sampled
from services.llm.engine.runner import Runner
from services.llm.engine.scheduler import Chunk
from services.llm.service import create_service
from services.llm.settings import LLMSettings
from tests.contract.llm_client import (
    FREE,
    LLM,
    Answer,
    StartLLM,
    image,
    text,
    until,
    until_answered,
    user,
)
from tests.pictures import file_of, photo


@pytest.fixture
def slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of 400 tokens takes longer than any test waits."""
    run = Runner.run

    def slow(self: Runner, chunks: list[Chunk]) -> list[Sampled]:
        time.sleep(0.02)
        return run(self, chunks)

    monkeypatch.setattr(Runner, "run", slow)


def measured(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"autoglm_llm_{name}", labels) or 0.0


@pytest.mark.usefixtures("slow_steps")
async def test_a_deadline_ends_an_answer_under_way(start_llm: StartLLM) -> None:
    async with start_llm(max_requests=1) as llm:
        with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
            await llm.generate(text("hi"), sampling={"max_tokens": 400}, timeout=0.2)
        await until_answered(llm, text("and now?"), meanwhile="QUEUE_FULL")


@pytest.mark.usefixtures("slow_steps")
async def test_a_caller_that_leaves_mid_answer_frees_its_blocks_and_its_place(start_llm: StartLLM) -> None:
    async with start_llm(max_requests=1) as llm:
        sampling = llm_pb2.SamplingParams(max_tokens=400)
        call = llm.stub.Generate(llm_pb2.GenerateRequest(messages=[user(text("hi"))], sampling=sampling))
        await call.read()
        assert measured("free_blocks") < measured("total_blocks")
        call.cancel()
        await until(lambda: measured("free_blocks") == measured("total_blocks"))
        await until_answered(llm, text("me now"), meanwhile="QUEUE_FULL")


async def test_fifty_at_once_are_all_answered(llm: LLM) -> None:
    pictures = [image(file_of(photo(seed=seed % 10))) for seed in range(50)]
    answers = await asyncio.gather(*(llm.generate(p, text(f"{i}?")) for i, p in enumerate(pictures)))
    assert all(answer.finish.usage.completion_tokens for answer in answers)
    sources = [answer.finish.receipt.media[0].source for answer in answers]
    assert llm_pb2.MEDIA_SOURCE_ENCODED in sources


@pytest.mark.usefixtures("slow_steps")
async def test_more_than_there_are_places_are_answered_or_refused(start_llm: StartLLM) -> None:
    async with start_llm(max_requests=10) as llm:
        asking = (llm.generate(text(f"{i}"), sampling={"max_tokens": 30}) for i in range(60))
        results = await asyncio.gather(*asking, return_exceptions=True)
    answered = [result for result in results if isinstance(result, Answer)]
    refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert len(answered) >= 10
    assert len(answered) + len(refused) == 60
    assert {from_rpc_error(error).reason for error in refused} == {"QUEUE_FULL"}


async def test_a_silent_engine_is_unhealthy_until_it_goes_on(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = LLMSettings(model=tiny_bundle, **{**FREE, "vision_target": "", "stall_seconds": 0.1})
    service = await create_service(settings)
    stuck, run = threading.Event(), Runner.run
    async with running(service, settings) as server:
        monkeypatch.setattr(Runner, "run", lambda self, chunks: (stuck.wait(5), run(self, chunks))[1])
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            llm = LLM(server, llm_pb2_grpc.LLMServiceStub(channel))
            assert service.healthy()
            asking = asyncio.create_task(llm.generate(text("hi")))
            await until(lambda: not service.healthy())
            stuck.set()
            assert (await asking).text()
            assert service.healthy()


async def test_the_engine_is_measured(llm: LLM) -> None:
    before = {name: measured(name) for name in ("generated_tokens_total", "first_token_seconds_count")}
    encoded = measured("media_total", source="encoded")
    question = image(), text("what is this thing?")
    first, second = [await llm.generate(*question) for _ in range(2)]
    assert measured("generated_tokens_total") - before["generated_tokens_total"] == 16
    assert measured("first_token_seconds_count") - before["first_token_seconds_count"] == 2
    assert measured("prefix_hit_tokens_total") == second.finish.usage.cached_tokens > 0
    assert measured("media_total", source="encoded") - encoded == 1
    assert measured("free_blocks") == measured("total_blocks")
    assert measured("running") == measured("waiting") == first.finish.usage.cached_tokens == 0
