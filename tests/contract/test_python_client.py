"""The Python example: its patience against a fake channel and clock, the whole against real services."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc_testing
import pytest
from grpc_status import rpc_status
from prometheus_client import REGISTRY

from autoglm.llm.v1 import llm_pb2
from autoglm.tensor.v1 import tensor_pb2
from autoglm.vision.v1 import vision_pb2
from examples.grpc_client import PAUSE_S, RETRIES, TIMEOUT_S, Client, question, read_error
from servicekit.errors import InvalidArgument, ServiceError, Unavailable, to_status
from services.vision.model.native import VisionConfig
from tests.contract.llm_client import until
from tests.contract.services import Targets

VISION = vision_pb2.DESCRIPTOR.services_by_name["VisionService"]
LLM = llm_pb2.DESCRIPTOR.services_by_name["LLMService"]
EXAMPLE = Path(__file__).parents[2] / "examples/grpc_client.py"
TINY = VisionConfig.tiny()
WAIT_S = 5
START = 1000.0
ASKED = question(llm_pb2.ContentPart(text="hello"))
DELTA = llm_pb2.GenerateResponse(delta=llm_pb2.Delta(text="hi"))
FINISH = llm_pb2.GenerateResponse(finish=llm_pb2.Finish(reason=llm_pb2.FINISH_REASON_STOP))
DOWN = Unavailable("SHUTTING_DOWN", "The service is going away.", retry_after_s=2.0)

Result = TypeVar("Result")


class Bench:
    """A client in a thread of its own. The test plays the service; the clock moves when the client waits."""

    def __init__(self) -> None:
        self.time = grpc_testing.strict_fake_time(START)
        self._channel = grpc_testing.channel([VISION, LLM], self.time)
        self.client = Client(self._channel, self._channel, self.time.time, self.time.sleep_for)

    def start(self, act: Callable[[], Result]) -> "asyncio.Future[Result]":
        """Lets the client act while the test looks on."""
        done: Future[Result] = Future()

        def run() -> None:
            try:
                done.set_result(act())
            except Exception as error:
                done.set_exception(error)

        threading.Thread(target=run, daemon=True).start()  # a call that nobody answers waits for ever
        return asyncio.wrap_future(done)

    async def call_of(self, service: Any, method: str) -> tuple[Any, Any]:
        """The next call as the service sees it: its request, and the way to answer it."""
        take = self._channel.take_unary_stream
        taken = self.start(lambda: take(service.methods_by_name[method]))
        _, request, rpc = await asyncio.wait_for(taken, WAIT_S)
        return request, rpc


@pytest.fixture
def bench() -> Bench:
    return Bench()


def refuse(rpc: Any, error: ServiceError) -> None:
    status = rpc_status.to_status(to_status(error, "llm.autoglm"))
    rpc.terminate(status.trailing_metadata, status.code, status.details)


def succeed(rpc: Any, *responses: Any) -> None:
    for response in responses:
        rpc.send_response(response)
    rpc.terminate((), grpc.StatusCode.OK, "")


async def test_an_embedding_is_put_together_from_its_pieces(bench: Bench) -> None:
    encoding = bench.start(lambda: bench.client.encode(b"picture"))
    request, rpc = await bench.call_of(VISION, "EncodeImage")
    assert request == vision_pb2.EncodeImageRequest(image=b"picture")
    header = tensor_pb2.EmbeddingHeader(token_count=2, shape=[2, 1], data_type=tensor_pb2.DATA_TYPE_FLOAT16)
    pieces = [
        vision_pb2.EncodeImageResponse(header=vision_pb2.EncodeImageHeader(embedding=header)),
        vision_pb2.EncodeImageResponse(chunk=tensor_pb2.Tensor(shape=[1, 1], data=b"ab")),
        vision_pb2.EncodeImageResponse(chunk=tensor_pb2.Tensor(shape=[1, 1], data=b"cd")),
    ]
    succeed(rpc, *pieces)
    embedding = await encoding
    assert embedding.header == header
    assert embedding.tensor == tensor_pb2.Tensor(
        data_type=tensor_pb2.DATA_TYPE_FLOAT16, shape=[2, 1], data=b"abcd"
    )


async def test_a_service_that_is_down_is_asked_again_after_the_pause_it_asks_for(bench: Bench) -> None:
    answer = bench.start(lambda: list(bench.client.generate(ASKED)))
    _, rpc = await bench.call_of(LLM, "Generate")
    refuse(rpc, DOWN)
    request, rpc = await bench.call_of(LLM, "Generate")
    assert request == ASKED
    assert 2.0 <= bench.time.time() - START <= 3.0
    succeed(rpc, DELTA, FINISH)
    assert await answer == [DELTA, FINISH]


async def test_patience_ends(bench: Bench) -> None:
    answer = bench.start(lambda: list(bench.client.generate(ASKED)))
    for _ in range(RETRIES + 1):
        _, rpc = await bench.call_of(LLM, "Generate")
        rpc.terminate((), grpc.StatusCode.UNAVAILABLE, "no connection")
    with pytest.raises(grpc.RpcError) as caught:
        await answer
    assert read_error(caught.value).reason == "UNAVAILABLE"
    assert RETRIES * PAUSE_S <= bench.time.time() - START <= RETRIES * PAUSE_S * 1.5


async def test_nothing_is_asked_again_that_could_not_be_answered_within_the_deadline(bench: Bench) -> None:
    answer = bench.start(lambda: list(bench.client.generate(ASKED)))
    _, rpc = await bench.call_of(LLM, "Generate")
    refuse(rpc, Unavailable("SHUTTING_DOWN", "The service is going away.", retry_after_s=TIMEOUT_S))
    with pytest.raises(grpc.RpcError):
        await answer
    assert bench.time.time() == START


async def test_an_answer_that_broke_off_is_not_begun_again(bench: Bench) -> None:
    heard: list[llm_pb2.GenerateResponse] = []

    def listen() -> None:
        for response in bench.client.generate(ASKED):
            heard.append(response)  # one by one, so that the test sees when

    answer = bench.start(listen)
    _, rpc = await bench.call_of(LLM, "Generate")
    rpc.send_response(DELTA)
    await until(lambda: bool(heard))
    refuse(rpc, DOWN)
    with pytest.raises(grpc.RpcError):
        await answer
    assert heard == [DELTA]
    assert bench.time.time() == START


async def test_a_clients_mistake_is_not_repeated(bench: Bench) -> None:
    answer = bench.start(lambda: list(bench.client.generate(ASKED)))
    _, rpc = await bench.call_of(LLM, "Generate")
    refuse(
        rpc, InvalidArgument("ROLE_INVALID", "A role is system, user or assistant.", field="messages[0].role")
    )
    with pytest.raises(grpc.RpcError) as caught:
        await answer
    failure = read_error(caught.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "ROLE_INVALID")
    assert (failure.domain, failure.field) == ("llm.autoglm", "messages[0].role")


async def test_leaving_an_answer_cancels_the_call(targets: Targets) -> None:
    def leave() -> None:
        with (
            grpc.insecure_channel(targets.llm) as channel,
            contextlib.closing(Client(channel, channel).generate(ASKED)) as answer,
        ):
            next(answer)

    before = cancelled_calls()
    await asyncio.to_thread(leave)
    await until(lambda: cancelled_calls() == before + 1)


def cancelled_calls() -> float:
    labels = {"method": f"/{LLM.full_name}/Generate", "code": "CANCELLED"}
    return REGISTRY.get_sample_value("autoglm_rpc_total", labels) or 0.0


async def run_example(targets: Targets, *arguments: str) -> tuple[int | None, str, str]:
    where = ["--vision", targets.vision, "--llm", targets.llm]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        *where,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_the_example_describes_a_picture_and_prints_the_receipt(targets: Targets) -> None:
    code, output, errors = await run_example(targets)
    assert code == 0, errors
    said = dict(line.split(maxsplit=1) for line in output.splitlines())
    size = TINY.tokens * TINY.hidden_size * 4
    assert said["encoded"].startswith(f"{TINY.tokens} x {TINY.hidden_size}, {size} bytes, tiny@")
    assert said["receipt"].startswith("MEDIA_SOURCE_CALLER")
    assert said["gate"].startswith("text 0.")


async def test_the_example_names_what_is_wrong_with_a_picture(targets: Targets, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a picture", encoding="utf-8")
    code, output, errors = await run_example(targets, str(tmp_path / "notes.txt"))
    assert (code, output) == (1, "")
    assert errors.startswith("refused  INVALID_ARGUMENT IMAGE_UNREADABLE in image: ")
