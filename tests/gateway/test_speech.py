"""The speech service as the gateway hears it."""

from collections.abc import AsyncIterator

import grpc

from gateway.speech import PCM, Event, Listening, SpeechClient
from servicekit.errors import InvalidArgument, ServiceError
from tests.gateway.scripted_speech import ScriptedSpeech, begins


async def much_audio() -> AsyncIterator[bytes]:
    for _ in range(50):
        yield bytes(64_000)


async def test_a_refusal_is_heard_by_its_name_while_audio_is_still_being_sent(speech: ScriptedSpeech) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{speech.port}") as channel:
        client = SpeechClient(channel, timeout_s=10)
        reasons, events = [], list[Event]()
        for _ in range(100):
            speech.will(begins(0.1), (0.3, InvalidArgument("AUDIO_CLIPPED", "Too loud.")))
            try:
                async for event in client.listen(Listening(PCM(16_000)), much_audio(), 10):
                    events.append(event)
            except ServiceError as error:
                reasons.append(error.reason)
    assert reasons == ["AUDIO_CLIPPED"] * 100
    assert events
