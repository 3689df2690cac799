"""Asks each service what it holds and where."""

from collections.abc import Mapping

import grpc.aio

from autoglm.llm.v1 import llm_pb2, llm_pb2_grpc
from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from autoglm.tensor.v1 import tensor_pb2
from autoglm.vision.v1 import vision_pb2, vision_pb2_grpc
from servicekit.channel import open_channel
from servicekit.settings import TLSSettings

TIMEOUT_S = 10.0


async def placements(targets: Mapping[str, str], tls: TLSSettings | None = None) -> list[str]:
    """One line per service: device, size and element type of its model, and its address."""
    return [
        f"{name:<6} {await _describe(name, target, tls)}, gRPC at {target}"
        for name, target in targets.items()
    ]


async def _describe(name: str, target: str, tls: TLSSettings | None) -> str:
    async with open_channel(target, tls=tls) as channel:
        try:
            model = await _get_model(name, channel)
        except grpc.aio.AioRpcError as error:
            return f"shows no model ({error.code().name})"
    if not model.loaded:
        return f"{model.name} validated, loads on first use"
    kind = tensor_pb2.DataType.Name(model.data_type).removeprefix("DATA_TYPE_").lower()
    return f"{model.parameter_count / 1e6:.1f} M parameters on {model.device} as {kind}"


async def _get_model(name: str, channel: grpc.aio.Channel) -> tensor_pb2.ModelInfo:
    if name == "vision":
        vision = vision_pb2_grpc.VisionServiceStub(channel)
        return (await vision.GetModel(vision_pb2.GetModelRequest(), timeout=TIMEOUT_S)).model
    if name == "speech":
        speech = speech_pb2_grpc.SpeechServiceStub(channel)
        return (await speech.GetModel(speech_pb2.GetModelRequest(), timeout=TIMEOUT_S)).model
    llm = llm_pb2_grpc.LLMServiceStub(channel)
    return (await llm.GetModel(llm_pb2.GetModelRequest(), timeout=TIMEOUT_S)).model
