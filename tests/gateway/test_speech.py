"""The speech service as the gateway hears it."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from gateway.speech import PCM, Event, Listening, SpeechClient
from servicekit.errors import InvalidArgument, ServiceError, Unavailable
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


async def test_a_call_that_others_cancel_is_a_service_that_went_away(speech: ScriptedSpeech) -> None:
    """As when a retired channel is closed: nobody would be told otherwise, and audio go on into nothing."""

    async def audio() -> AsyncIterator[bytes]:
        yield bytes(32_000)
        await channel.close()
        await asyncio.Event().wait()

    async with grpc.aio.insecure_channel(f"127.0.0.1:{speech.port}") as channel:
        client = SpeechClient(channel, timeout_s=10)

        async def hear() -> None:
            async for _ in client.listen(Listening(PCM(16_000)), audio(), 10):
                pass

        with pytest.raises(Unavailable) as refused:
            await hear()
    assert refused.value.reason == "SPEECH_UNAVAILABLE"
