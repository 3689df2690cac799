"""A client built from the released contract is served by today's services, RPC by RPC."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from services.speech.audio import AudioFormat, read_clip
from services.vision.model.native import VisionConfig
from tests.contract.llm_client import PICTURE
from tests.contract.released import IMAGE, OldClient, message, methods
from tests.contract.services import Targets

USER = 2  # ROLE_USER
CONTAINER = {"encoding": 1}  # AUDIO_ENCODING_CONTAINER
PCM_S16LE = 2
SPOKEN = Path(__file__).parents[1] / "speech" / "clips" / "apple.opus"
VISION, SPEECH, LLM = (
    f"autoglm.{package}.v1.{name}Service"
    for package, name in (("vision", "Vision"), ("speech", "Speech"), ("llm", "LLM"))
)
TINY = VisionConfig.tiny()


@pytest.fixture
def client(targets: Targets) -> OldClient:
    return OldClient(targets)


def asked(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": USER, "parts": list(parts)}]


async def encoded(client: OldClient) -> Any:
    """The test picture as the embedding of a released client."""
    first, *rest = await client.call(
        f"{VISION}.EncodeImage", message("vision.v1.EncodeImageRequest", image=PICTURE)
    )
    header = first.header.embedding
    data = b"".join(part.chunk.data for part in rest)
    tensor = message("tensor.v1.Tensor", data_type=header.data_type, shape=header.shape, data=data)
    return message("tensor.v1.Embedding", header=header, tensor=tensor)


async def get_vision_model(client: OldClient) -> None:
    [answer] = await client.call(f"{VISION}.GetModel", message("vision.v1.GetModelRequest"))
    assert answer.model.name == "tiny"
    assert answer.max_image_bytes > 0


async def encode_image(client: OldClient) -> None:
    embedding = await encoded(client)
    assert list(embedding.tensor.shape) == [TINY.tokens, TINY.hidden_size]
    assert len(embedding.tensor.data) == TINY.tokens * TINY.hidden_size * 4
    assert len(embedding.header.media_digest) == 32


async def get_llm_model(client: OldClient) -> None:
    [answer] = await client.call(f"{LLM}.GetModel", message("llm.v1.GetModelRequest"))
    embedding = await encoded(client)
    assert embedding.header.model_fingerprint in answer.encoder_fingerprints


async def generate(client: OldClient) -> None:
    messages = asked({"embedding": await encoded(client)}, {"image": {"data": PICTURE}}, {"text": "hi"})
    request = message("llm.v1.GenerateRequest", messages=messages, sampling={"max_tokens": 8})
    *deltas, last = await client.call(f"{LLM}.Generate", request)
    assert "".join(response.delta.text for response in deltas)
    assert last.finish.usage.completion_tokens == 8
    assert len(last.finish.receipt.media) == 2
    assert last.finish.gate_weights[0].image > 0


async def tokenize(client: OldClient) -> None:
    request = message("llm.v1.TokenizeRequest", messages=asked({"text": "hello"}))
    [answer] = await client.call(f"{LLM}.Tokenize", request)
    assert len(answer.token_ids) > len("hello")


async def detokenize(client: OldClient) -> None:
    request = message("llm.v1.TokenizeRequest", messages=asked({"text": "hello"}))
    [tokens] = await client.call(f"{LLM}.Tokenize", request)
    request = message("llm.v1.DetokenizeRequest", token_ids=tokens.token_ids)
    [answer] = await client.call(f"{LLM}.Detokenize", request)
    assert "hello" in answer.text


async def get_speech_model(client: OldClient) -> None:
    [answer] = await client.call(f"{SPEECH}.GetModel", message("speech.v1.GetModelRequest"))
    assert answer.model.name == "tiny"
    assert answer.sample_rate_hertz > 0


async def encode_audio(client: OldClient) -> None:
    request = message("speech.v1.EncodeAudioRequest", audio=SPOKEN.read_bytes(), format=CONTAINER)
    first, *rest = await client.call(f"{SPEECH}.EncodeAudio", request)
    header = first.header.embedding
    assert header.token_count == len(first.header.transcript) > 0
    assert sum(part.chunk.shape[0] for part in rest) == header.token_count


async def transcribe(client: OldClient) -> None:
    request = message("speech.v1.TranscribeRequest", audio=SPOKEN.read_bytes(), format=CONTAINER)
    [answer] = await client.call(f"{SPEECH}.Transcribe", request)
    assert answer.text == "".join(segment.text for segment in answer.segments) != ""


async def stream_transcribe(client: OldClient) -> None:
    pcm = (read_clip(SPOKEN.read_bytes(), AudioFormat(), max_seconds=60).samples * 32_767).astype("<i2")
    layout = {"encoding": PCM_S16LE, "sample_rate_hertz": 16_000}
    responses = await client.call(
        f"{SPEECH}.StreamTranscribe",
        message("speech.v1.StreamTranscribeRequest", config={"format": layout, "language_code": "zh-CN"}),
        message("speech.v1.StreamTranscribeRequest", audio=pcm.tobytes()),
    )
    [final] = [response.result for response in responses if response.result.is_final]
    assert final.text
    assert len(final.media_digest) == 32


CALLS: dict[str, Callable[[OldClient], Awaitable[None]]] = {
    f"{VISION}.GetModel": get_vision_model,
    f"{VISION}.EncodeImage": encode_image,
    f"{LLM}.GetModel": get_llm_model,
    f"{LLM}.Generate": generate,
    f"{LLM}.Tokenize": tokenize,
    f"{LLM}.Detokenize": detokenize,
    f"{SPEECH}.GetModel": get_speech_model,
    f"{SPEECH}.EncodeAudio": encode_audio,
    f"{SPEECH}.Transcribe": transcribe,
    f"{SPEECH}.StreamTranscribe": stream_transcribe,
}


@pytest.mark.parametrize("name", sorted(methods()))
async def test_an_old_client_is_served(name: str, client: OldClient) -> None:
    await CALLS[name](client)


def test_an_old_client_reads_what_a_grown_service_says() -> None:
    """A field and an enum value added later do not reach an old client, and do not disturb it."""
    files = descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes())
    grown = descriptor_pool.DescriptorPool()
    for file in files.file:
        if file.package == "autoglm.llm.v1":
            [usage] = [kind for kind in file.message_type if kind.name == "Usage"]
            usage.field.add(name="drafted_tokens", number=90, type="TYPE_INT32", label="LABEL_OPTIONAL")
            [reasons] = [kind for kind in file.enum_type if kind.name == "FinishReason"]
            reasons.value.add(name="FINISH_REASON_TOOL", number=91)
        grown.Add(file)
    kind = message_factory.GetMessageClass(grown.FindMessageTypeByName("autoglm.llm.v1.Finish"))
    said = kind(reason=91, usage={"completion_tokens": 3, "drafted_tokens": 2})
    heard = message("llm.v1.Finish")
    heard.ParseFromString(said.SerializeToString())
    assert heard == message("llm.v1.Finish", reason=91, usage=heard.usage)  # an open enum keeps the number
    assert heard.usage.completion_tokens == 3
    assert heard.SerializeToString() == said.SerializeToString()  # and unknown fields are passed on


def test_the_released_image_is_small_and_holds_the_four_packages() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(IMAGE.read_bytes()).file
    packages = {file.package for file in files if file.package.startswith("autoglm.")}
    assert packages == {f"autoglm.{name}.v1" for name in ("tensor", "vision", "speech", "llm")}
    assert IMAGE.stat().st_size < 64_000
