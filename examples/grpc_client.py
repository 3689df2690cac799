"""Calls vision and llm directly: encodes a picture, asks about its embedding, prints the receipt.

It needs the generated stubs, grpcio and grpcio-status; no torch, and nothing else of this repository.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from autoglm.llm.v1 import llm_pb2, llm_pb2_grpc
from autoglm.tensor.v1 import tensor_pb2
from autoglm.vision.v1 import vision_pb2, vision_pb2_grpc

TIMEOUT_S = 30.0
RETRIES = 3
PAUSE_S = 0.2
MAX_MESSAGE_BYTES = 64 << 20  # grpc's own limit for what is received is 4 MiB
PHOTO = Path(__file__).parent / "photos" / "bananas.jpg"

Response = TypeVar("Response")
Call: TypeAlias = "grpc._CallIterator[Response]"  # has a name for type checkers only
Stream: TypeAlias = Generator[Response, None, None]


@dataclass(frozen=True)
class Failure:
    """A failed call in words. Without details the reason is the name of the code."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str = ""
    field: str = ""
    retry_after_s: float | None = None

    def __str__(self) -> str:
        where = f" in {self.field}" if self.field else ""
        return f"{self.code.name} {self.reason}{where}: {self.message}"


def read_error(error: grpc.RpcError) -> Failure:
    """What the service said about its refusal."""
    if not isinstance(error, grpc.Call):
        raise TypeError("only the error of a call has a status") from error
    said = {"reason": error.code().name}
    retry_after_s = None
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info, bad, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        if detail.Unpack(info):
            said |= {"reason": info.reason, "domain": info.domain}
        elif detail.Unpack(bad):
            said |= {"field": bad.field_violations[0].field}
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
    return Failure(error.code(), error.details() or "", **said, retry_after_s=retry_after_s)


class Client:
    """Vision and llm, asked with a deadline; tried again only where nothing has been said yet."""

    def __init__(
        self,
        vision: grpc.Channel,
        llm: grpc.Channel,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._vision = vision_pb2_grpc.VisionServiceStub(vision)
        self._llm = llm_pb2_grpc.LLMServiceStub(llm)
        self._clock, self._sleep = clock, sleep

    def encode(self, image: bytes) -> tensor_pb2.Embedding:
        """A picture file as an embedding that `generate` takes in its stead."""
        request = vision_pb2.EncodeImageRequest(image=image)
        first, *rest = self._patiently(lambda left: self._vision.EncodeImage(request, timeout=left))
        header = first.header.embedding
        data = b"".join(part.chunk.data for part in rest)
        tensor = tensor_pb2.Tensor(data_type=header.data_type, shape=header.shape, data=data)
        return tensor_pb2.Embedding(header=header, tensor=tensor)

    def generate(self, request: llm_pb2.GenerateRequest) -> Stream[llm_pb2.GenerateResponse]:
        """Deltas, then one finish. Closing the iterator cancels the call."""
        return self._patiently(lambda left: self._llm.Generate(request, timeout=left))

    def _patiently(self, start: "Callable[[float], Call[Response]]") -> Stream[Response]:
        """A stream within the deadline; begun again while nobody answers and nothing has come."""
        deadline = self._clock() + TIMEOUT_S
        for retries_left in range(RETRIES, -1, -1):
            call = start(deadline - self._clock())
            begun = False
            try:
                for response in call:
                    begun = True
                    yield response
                return
            except grpc.RpcError as error:
                failure = read_error(error)
                pause = failure.retry_after_s or PAUSE_S
                pause *= 1 + random.random() / 2  # or everybody comes back at once
                may_retry = failure.code is grpc.StatusCode.UNAVAILABLE and not begun and retries_left
                if not may_retry or self._clock() + pause >= deadline:
                    raise
            finally:
                call.cancel()
            self._sleep(pause)


def question(*parts: llm_pb2.ContentPart) -> llm_pb2.GenerateRequest:
    """One user message."""
    return llm_pb2.GenerateRequest(messages=[llm_pb2.ChatMessage(role=llm_pb2.ROLE_USER, parts=parts)])


def describe(client: Client, image: bytes) -> None:
    """Encodes, asks, and prints the answer with the path it took."""
    embedding = client.encode(image)
    shape = " x ".join(map(str, embedding.header.shape))
    print(f"encoded  {shape}, {len(embedding.tensor.data)} bytes, {embedding.header.model_fingerprint}")
    request = question(llm_pb2.ContentPart(embedding=embedding), llm_pb2.ContentPart(text="描述这张图片。"))
    print("answer   ", end="")
    for response in client.generate(request):
        print(response.delta.text, end="", flush=True)
        if response.HasField("finish"):
            finish = response.finish
            print(f"\nusage    {finish.usage.prompt_tokens} in, {finish.usage.completion_tokens} out")
            for gate in finish.gate_weights:
                print(f"gate     text {gate.text:.3f}, image {gate.image:.3f}, audio {gate.audio:.3f}")
            for medium in finish.receipt.media:
                print(f"receipt  {llm_pb2.MediaSource.Name(medium.source)}, {medium.token_count} tokens")
            print(f"time     {finish.receipt.first_token_ms:.0f} ms to the first token", end="")
            print(f", {finish.receipt.total_ms:.0f} ms in all, {finish.receipt.steps} steps")


def main() -> int:
    """Exit code 0 when the picture was described."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("picture", type=Path, nargs="?", default=PHOTO)
    parser.add_argument("--vision", default="127.0.0.1:50051")
    parser.add_argument("--llm", default="127.0.0.1:50053")
    options = parser.parse_args()
    channel_options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
    with (
        grpc.insecure_channel(options.vision, channel_options) as vision,
        grpc.insecure_channel(options.llm, channel_options) as llm,
    ):
        try:
            describe(Client(vision, llm), options.picture.read_bytes())
        except grpc.RpcError as error:
            print(f"refused  {read_error(error)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
