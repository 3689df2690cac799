"""What a realtime client may do wrong: each mistake has a name, and nothing hangs."""

import asyncio
import base64
import json
import random
from typing import Any

import pytest
import websockets

from gateway.realtime import outbox
from servicekit.keys import hash_of
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.realtime.client import RATE, connected
from tests.gateway.scripted_llm import PAUSE, ScriptedLLM, said
from tests.gateway.scripted_speech import ScriptedSpeech

MESSAGE = {"type": "message", "role": "user"}


def create(**item: Any) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": MESSAGE | item}


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": session}


MISTAKES = {
    "garbage": ("{", "invalid_json", None),
    "deep garbage": ("[" * 100_000, "invalid_json", None),
    "a list": ([], "invalid_json", None),
    "no type": ({}, "unknown_event", "type"),
    "an unknown type": ({"type": "response.sing"}, "unknown_event", "type"),
    "a type of another kind": ({"type": ["response.create"]}, "unknown_event", "type"),
    "no audio": ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
    "no base64": ({"type": "input_audio_buffer.append", "audio": "?"}, "invalid_base64", "audio"),
    "half a sample": ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "invalid_audio", "audio"),
    "an empty commit": ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
    "no such item": (
        {"type": "conversation.item.delete", "item_id": "x"},
        "item_not_found",
        "item_id",
    ),
    "a remote picture": (
        create(content=[{"type": "input_image", "image_url": "http://example.com/a.png"}]),
        "image_url_unsupported",
        "item.content[0].image_url",
    ),
    "a picture without one": (
        create(content=[{"type": "input_image"}]),
        "missing_required_parameter",
        "item.content[0].image_url",
    ),
    "an assistant that shows": (
        create(role="assistant", content=[{"type": "input_image", "image_url": "data:,"}]),
        "invalid_value",
        "item.content[0].type",
    ),
    "a function call": ({"type": "conversation.item.create", "item": {"type": "function_call"}}, None, None),
    "too many values": ("[" * 250_000, "too_many_values", None),
    "half a character": ('{"type": "nope", "event_id": "\\ud800"}', "invalid_json", None),
    "nothing written": (
        create(content=[{"type": "input_text", "text": ""}]),
        "content_empty",
        "item.content",
    ),
    "no tokens": (update(max_output_tokens=0), "invalid_value", "session.max_output_tokens"),
    "spoken answers": (update(output_modalities=["audio"]), "invalid_value", "session.output_modalities[0]"),
    "tools": (update(tools=[{"type": "function"}]), "invalid_value", "session.tools"),
    "another language": (
        update(audio={"input": {"transcription": {"language": "en"}}}),
        "language_unsupported",
        "session.audio.input.transcription.language",
    ),
    "another recogniser": (
        update(audio={"input": {"transcription": {"model": "siri"}}}),
        "model_not_found",
        "session.audio.input.transcription.model",
    ),
    "semantic detection": (
        update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}}),
        "invalid_value",
        "session.audio.input.turn_detection.type",
    ),
    "another rate": (
        update(audio={"input": {"format": {"type": "audio/pcm", "rate": 8000}}}),
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    "noise reduction": (
        update(audio={"input": {"noise_reduction": {"type": "near_field"}}}),
        "invalid_value",
        "session.audio.input.noise_reduction",
    ),
}


async def test_every_mistake_is_named_and_the_session_goes_on(hearing_gateway: Gateway) -> None:
    async with connected(hearing_gateway) as client:
        for name, (event, code, param) in MISTAKES.items():
            await client.socket.send(event if isinstance(event, str) else json.dumps(event))
            error = (await client.next())["error"]
            assert code in (None, error["code"]), name
            assert code is None or error["param"] == param, name
        await client.socket.send(b"bytes")
        assert (await client.next())["error"]["code"] == "invalid_json"
        await client.send("session.update", session={}, event_id="last")
        assert (await client.next())["type"] == "session.updated"


REASONS = {
    "audio/pcm comes at 24000 Hz": {"format": {"type": "audio/pcm", "rate": 16_000}},
    "Turns end with silence": {"turn_detection": {"type": "semantic_vad"}},
    "Input should be 'audio/pcm'": {"format": {"type": "audio/opus"}},
    "greater than or equal to 100": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 50}},
    "at most 4096 characters": {"transcription": {"prompt": "x" * 5000}},
    "Noise is not reduced": {"noise_reduction": {"type": "near_field"}},
}


@pytest.mark.parametrize(("reason", "value"), REASONS.items(), ids=REASONS)
async def test_a_wrong_setting_is_told_what_is_wrong_with_it(
    reason: str, value: dict[str, Any], hearing_gateway: Gateway
) -> None:
    async with connected(hearing_gateway) as client:
        await client.send("session.update", session={"audio": {"input": value}})
        assert reason in (await client.until("error"))["error"]["message"]


async def test_random_events_never_end_or_hang_a_session(hearing_gateway: Gateway) -> None:
    chance = random.Random(0)
    kinds = ["session.update", "input_audio_buffer.append", "conversation.item.create", "response.create"]
    values: list[Any] = [None, 0, -1, 1.5, "", "AAAA", [], {}, True, {"type": "realtime"}, {"input": None}]
    async with connected(hearing_gateway) as client:
        for _ in range(60):
            keys = chance.sample(["session", "audio", "item", "response", "event_id"], 2)
            await client.send(chance.choice(kinds), **{key: chance.choice(values) for key in keys})
        await client.send("conversation.item.delete", item_id="the end")
        while (await client.until("error"))["error"]["code"] != "item_not_found":
            pass


async def test_how_audio_is_heard_does_not_change_while_there_is_some(hearing_gateway: Gateway) -> None:
    async with connected(hearing_gateway) as client:
        await client.update(audio={"input": {"turn_detection": None}})
        await client.speak(0.2)
        await client.send("session.update", session={"audio": {"input": {"turn_detection": {}}}})
        assert (await client.until("error"))["error"]["code"] == "input_audio_buffer_not_empty"
        await client.send("input_audio_buffer.clear")
        await client.update(audio={"input": {"turn_detection": {}}})
        await client.speak(0.1)
        await client.send("session.update", session={"type": "transcription"})
        assert (await client.until("error"))["error"]["param"] == "session.type"


async def test_a_turn_of_the_client_is_bounded(speech: ScriptedSpeech, start_gateway: StartGateway) -> None:
    async with (
        start_gateway(speech_target=f"127.0.0.1:{speech.port}", max_realtime_turn_s=0.5) as gateway,
        connected(gateway) as client,
    ):
        await client.update(audio={"input": {"turn_detection": None}})
        await client.speak(0.6)
        assert (await client.until("error"))["error"]["code"] == "AUDIO_TOO_LONG"


async def test_an_event_too_long_closes_the_connection(
    speech: ScriptedSpeech, start_gateway: StartGateway
) -> None:
    async with (
        start_gateway(speech_target=f"127.0.0.1:{speech.port}", max_realtime_event_bytes=1024) as gateway,
        connected(gateway) as client,
    ):
        await client.append(bytes(2048))
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await client.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_a_session_does_not_last_for_ever(speech: ScriptedSpeech, start_gateway: StartGateway) -> None:
    async with (
        start_gateway(speech_target=f"127.0.0.1:{speech.port}", max_realtime_session_s=0.3) as gateway,
        connected(gateway) as client,
    ):
        assert (await client.until("error"))["error"]["code"] == "session_expired"
        with pytest.raises(websockets.ConnectionClosedError):
            await client.next()


async def refused(gateway: Gateway, query: str = "", **options: Any) -> tuple[int, str]:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with connected(gateway, query, **options):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)["error"]["code"]


async def test_only_so_many_sessions_are_open(speech: ScriptedSpeech, start_gateway: StartGateway) -> None:
    async with start_gateway(speech_target=f"127.0.0.1:{speech.port}", max_realtime_sessions=1) as gateway:
        async with connected(gateway):
            assert await refused(gateway) == (429, "QUEUE_FULL")
        async with connected(gateway):
            pass


async def test_what_cannot_be_opened_is_an_http_status(
    gateway: Gateway, hearing_gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    assert await refused(hearing_gateway, "?model=gpt-9") == (404, "model_not_found")
    assert await refused(hearing_gateway, "?intent=singing") == (400, "invalid_value")
    assert await refused(gateway) == (503, "SPEECH_UNAVAILABLE")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_key_opens_it(speech: ScriptedSpeech, start_gateway: StartGateway) -> None:
    keys = {"hashes": {"ann": hash_of("secret")}}
    async with start_gateway(speech_target=f"127.0.0.1:{speech.port}", api_keys=keys) as gateway:
        assert await refused(gateway) == (401, "invalid_api_key")
        async with connected(gateway, additional_headers={"Authorization": "Bearer secret"}):
            pass


async def test_a_page_names_its_key_as_a_protocol(
    speech: ScriptedSpeech, start_gateway: StartGateway
) -> None:
    keys = {"hashes": {"ann": hash_of("secret")}}
    async with start_gateway(speech_target=f"127.0.0.1:{speech.port}", api_keys=keys) as gateway:
        offered = ["realtime", "openai-insecure-api-key.secret"]
        async with connected(gateway, subprotocols=offered) as client:
            assert client.socket.subprotocol == "realtime"
        with pytest.raises(websockets.InvalidStatus):
            async with connected(gateway, subprotocols=["realtime", "openai-insecure-api-key.guess"]):
                pass


async def test_a_client_that_leaves_abruptly_stops_everything(
    speech: ScriptedSpeech, llm: ScriptedLLM, hearing_gateway: Gateway
) -> None:
    llm.will(said("红"), PAUSE)
    async with connected(hearing_gateway) as client:
        await client.speak(1.1)
        await client.until("response.output_text.delta")
        client.socket.transport.abort()
    await asyncio.wait_for(asyncio.gather(llm.cancelled.wait(), speech.ended.wait()), 5)


async def test_a_client_that_does_not_read_is_let_go(
    speech: ScriptedSpeech, llm: ScriptedLLM, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "SEND_TIMEOUT_S", 0.3)
    llm.will(*[said("红" * 50_000)] * 200, PAUSE)
    async with (
        start_gateway(speech_target=f"127.0.0.1:{speech.port}", max_realtime_sessions=1) as gateway,
        connected(gateway, compression=None) as client,
    ):
        client.socket.transport.pause_reading()
        content = [{"type": "input_text", "text": "你好"}]
        await client.send("conversation.item.create", item=MESSAGE | {"content": content})
        await client.send("response.create")
        async with asyncio.timeout(10):
            while not await is_free(gateway):
                await asyncio.sleep(0.1)
        client.socket.transport.abort()


async def is_free(gateway: Gateway) -> bool:
    try:
        async with connected(gateway):
            return True
    except websockets.InvalidStatus:
        return False


async def test_a_service_that_stops_listening_is_named(
    speech: ScriptedSpeech, hearing_gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.realtime.hearing.PATIENCE_S", 0.3)
    speech.deaf = True
    audio = base64.b64encode(bytes(16 * RATE)).decode()
    async with connected(hearing_gateway) as client:
        for _ in range(24):
            await client.send("input_audio_buffer.append", audio=audio)
        assert (await client.until("error"))["error"]["code"] == "SPEECH_TOO_SLOW"
