"""Transcription sessions: live speech becomes text, turn by turn."""

import hashlib

import pytest

from servicekit.errors import InvalidArgument
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.realtime.client import RATE, connected
from tests.gateway.scripted_llm import ScriptedLLM
from tests.gateway.scripted_speech import ScriptedSpeech, begins, ends, hears, settles

TRANSCRIPTION = "?intent=transcription"
DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"


async def test_a_turn_is_noticed_and_written_down_as_it_is_said(
    speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        await client.speak(1.1)
        completed = await client.until(COMPLETED)
    assert client.kinds == [
        "session.created",
        "input_audio_buffer.speech_started",
        DELTA,
        "input_audio_buffer.speech_stopped",
        DELTA,
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        COMPLETED,
    ]
    assert len({event["item_id"] for event in client.seen if "item_id" in event}) == 1
    assert completed["transcript"] == "".join(event["delta"] for event in client.of(DELTA)) == "这是什么"
    assert client.of("input_audio_buffer.speech_started")[0]["audio_start_ms"] == 200
    assert client.of("input_audio_buffer.speech_stopped")[0]["audio_end_ms"] == 800
    assert speech.configs[0].format.sample_rate_hertz == RATE


async def test_turns_follow_each_other_in_one_stream(
    speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    speech.will(
        begins(0.1),
        settles(0.5, "你好", 0.1, 0.4),
        begins(0.6),
        ends(0.8),
        settles(0.9, "再见", 0.6, 0.8, index=1),
    )
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        await client.speak(1.0)
        first = await client.until(COMPLETED)
        second = await client.until(COMPLETED)
    assert (first["transcript"], second["transcript"]) == ("你好", "再见")
    committed = client.of("input_audio_buffer.committed")
    assert [event["previous_item_id"] for event in committed] == [None, first["item_id"]]
    assert len(speech.streams) == 1


async def test_the_settings_reach_the_service(speech: ScriptedSpeech, hearing_gateway: Gateway) -> None:
    audio = {
        "input": {
            "transcription": {"model": "gpt-4o-transcribe", "language": "zh", "prompt": "红烧肉 豆腐"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 700},
        }
    }
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        session = await client.update(type="transcription", audio=audio)
        await client.speak(1.1)
        await client.until(COMPLETED)
    assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 700
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": RATE}
    (config,) = speech.configs
    assert [phrase.text for phrase in config.phrases] == ["红烧肉", "豆腐"]
    assert config.endpoint_silence.ToMilliseconds() == 700


async def test_only_what_is_named_changes(hearing_gateway: Gateway) -> None:
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        await client.update(audio={"input": {"transcription": {"language": "zh"}}})
        session = await client.update(audio={"input": {"turn_detection": None}})
    assert session["audio"]["input"]["transcription"]["language"] == "zh"
    assert session["audio"]["input"]["turn_detection"] is None


async def test_without_turn_detection_the_client_ends_the_turn(
    speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    speech.will(hears(0.2, "你", 1), settles(0.5, "你好", 0.1, 0.4), settles(9, "世界", 0.6, 0.9, index=1))
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        await client.update(audio={"input": {"turn_detection": None}})
        await client.speak(1.0)
        await client.send("input_audio_buffer.commit")
        completed = await client.until(COMPLETED)
    assert completed["transcript"] == "你好世界"
    assert completed["usage"] == {"type": "duration", "seconds": 1.0}
    assert "input_audio_buffer.speech_started" not in client.kinds
    assert [event["delta"] for event in client.of(DELTA)] == ["你", "好", "世界"]


async def test_a_commit_ends_a_turn_that_the_server_would_have_ended_later(
    speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        await client.speak(0.5)
        await client.send("input_audio_buffer.commit")
        assert (await client.until(COMPLETED))["transcript"] == "这是什么"
        speech.will()
        await client.speak(0.5)
        await client.send("input_audio_buffer.commit")
        assert (await client.until("error"))["error"]["code"] == "input_audio_buffer_commit_empty"


async def test_a_cleared_buffer_is_forgotten(speech: ScriptedSpeech, hearing_gateway: Gateway) -> None:
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        await client.speak(0.5)
        await client.until(DELTA)
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        await speech.ended.wait()
        await client.speak(1.1)
        await client.until(COMPLETED)
    assert len(client.of("input_audio_buffer.committed")) == 1
    assert client.of("input_audio_buffer.speech_started")[1]["audio_start_ms"] == 700


async def test_a_sound_without_words_is_no_turn(speech: ScriptedSpeech, hearing_gateway: Gateway) -> None:
    speech.will(
        begins(0.1), ends(0.3), settles(0.4, "", 0.1, 0.3), begins(0.5), settles(0.8, "好", 0.5, 0.7, index=1)
    )
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        await client.speak(1.0)
        await client.until(COMPLETED)
    assert len(client.of("input_audio_buffer.speech_stopped")) == 2
    assert len(client.of("input_audio_buffer.committed")) == 1


async def test_the_clip_of_a_turn_is_the_one_that_the_service_remembers(
    speech: ScriptedSpeech, llm: ScriptedLLM, hearing_gateway: Gateway
) -> None:
    async with connected(hearing_gateway) as client:
        for value in range(12):
            await client.speak(0.1, value=value)
        await client.until("response.done")
    (request,) = llm.requests
    clip = request.messages[0].parts[0].audio.data
    assert speech.digests == {hashlib.sha256(clip).digest()}


@pytest.mark.parametrize(("kind", "silence"), [("audio/pcmu", 0xFF), ("audio/pcma", 0xD5)])
async def test_telephone_audio_is_heard_as_samples(
    kind: str, silence: int, speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        session = await client.update(audio={"input": {"format": {"type": kind}}})
        await client.append(bytes([silence]) * 8800)
        await client.until(COMPLETED)
    assert session["audio"]["input"]["format"] == {"type": kind}
    assert speech.configs[0].format.sample_rate_hertz == 8000
    assert set(speech.streams[0]) <= {0, 8}


async def test_a_stream_that_breaks_is_told_and_another_one_is_opened(
    speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    speech.will(begins(0.1), (0.3, InvalidArgument("AUDIO_CLIPPED", "Too loud.")))
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        await client.speak(0.5)
        assert (await client.until("error"))["error"]["code"] == "AUDIO_CLIPPED"
        failed = await client.until("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["code"] == "AUDIO_CLIPPED"
        await client.speak(1.1)
        assert (await client.until(COMPLETED))["transcript"] == "这是什么"


async def test_a_transcription_session_gives_no_answers(llm: ScriptedLLM, hearing_gateway: Gateway) -> None:
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        await client.send("response.create")
        assert (await client.until("error"))["error"]["code"] == "unsupported_in_transcription"
        await client.speak(1.1)
        await client.until(COMPLETED)
    assert llm.requests == []


async def test_a_commit_after_a_turn_that_finds_nothing_more_is_answered(hearing_gateway: Gateway) -> None:
    async with connected(hearing_gateway, "?intent=transcription") as client:
        await client.speak(1.1)
        await client.until("conversation.item.input_audio_transcription.completed")
        await client.append(bytes(48_000))
        await client.send("input_audio_buffer.commit", event_id="mine")
        error = (await client.until("error"))["error"]
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")


async def test_a_turn_at_the_beginning_of_a_long_append_keeps_its_clip(
    speech: ScriptedSpeech, start_gateway: StartGateway
) -> None:
    speech.will(begins(1), settles(3, "你好", 1, 2.5), begins(98), settles(99, "再见", 98, 98.5, index=1))
    async with (
        start_gateway(speech_target=f"127.0.0.1:{speech.port}", max_realtime_turn_s=40) as gateway,
        connected(gateway, TRANSCRIPTION) as client,
    ):
        await client.append(bytes(2 * 100 * RATE))
        texts = [(await client.until(COMPLETED))["transcript"] for _ in range(2)]
    assert texts == ["你好", "再见"]


async def test_times_count_what_came_in_while_a_stream_broke(
    speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    speech.will((1.0, InvalidArgument("SOME_REASON", "No.")))
    async with connected(hearing_gateway, TRANSCRIPTION) as client:
        await client.append(bytes(2 * 10 * RATE))
        await client.until("error")
        await client.speak(1.1)
        started = await client.until("input_audio_buffer.speech_started")
    assert started["audio_start_ms"] == 10_200
