"""A client of the released contract: its messages come from the committed image, not from today's stubs."""

import asyncio
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from tests.contract.services import Targets

IMAGE = Path(__file__).parents[2] / "protos/released/v1.binpb"
LIMIT_S = 20.0


@functools.cache
def pool() -> descriptor_pool.DescriptorPool:
    """The released files, apart from all that this process has imported."""
    files = descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes())  # an image is one with extras
    released = descriptor_pool.DescriptorPool()
    for file in files.file:
        released.Add(file)
    return released


def methods() -> dict[str, MethodDescriptor]:
    """Every released RPC by its full name, such as `autoglm.llm.v1.LLMService.Generate`."""
    files = descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes()).file
    services = [pool().FindServiceByName(f"{file.package}.{s.name}") for file in files for s in file.service]
    return {method.full_name: method for service in services for method in service.methods}


def message(name: str, **fields: Any) -> Any:
    """A released message, such as `llm.v1.GenerateRequest`; dicts stand for the messages inside."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(f"autoglm.{name}"))(**fields)


@dataclass(frozen=True)
class OldClient:
    """Calls by name. Its channels block, because grpc.aio forgets a refusal that meets a write."""

    targets: Targets

    async def call(self, name: str, *requests: Message) -> list[Any]:
        """The RPC's responses, whatever its shape."""
        return await asyncio.to_thread(self._call, methods()[name], requests)

    def _call(self, method: MethodDescriptor, requests: tuple[Message, ...]) -> list[Any]:
        service = method.containing_service.full_name
        asked = message_factory.GetMessageClass(method.input_type)
        answered = message_factory.GetMessageClass(method.output_type)
        with grpc.insecure_channel(self.targets.of(service)) as channel:
            rpc = getattr(channel, f"{_kind(method.client_streaming)}_{_kind(method.server_streaming)}")(
                f"/{service}/{method.name}",
                request_serializer=asked.SerializeToString,
                response_deserializer=answered.FromString,
            )
            answer = rpc(iter(requests) if method.client_streaming else requests[0], timeout=LIMIT_S)
            return list(answer) if method.server_streaming else [answer]


def _kind(streaming: bool) -> str:
    return "stream" if streaming else "unary"
