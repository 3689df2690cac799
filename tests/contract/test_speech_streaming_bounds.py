"""StreamTranscribe refuses by name, waits for nobody, and leaves nothing behind."""

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from servicekit.call_status import CallStatus
from services.speech.streaming.streams import LONGEST_DRAIN_S
from tests.bundles import write_speech_bundle
from tests.contract.speech_streams import (
    FLOATS,
    LIMIT_S,
    PCM,
    RATE,
    WIDTHS,
    Request,
    StartSpeech,
    Stub,
    config,
    connected,
    finals,
    hear,
    listening,
    pieces,
    reason_of,
    refusal,
    streams,
    unknown_encoding,
    until,
)


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ([], "CONFIG_MISSING"),
        ([Request()], "CONFIG_MISSING"),
        ([Request(audio=b"12")], "CONFIG_MISSING"),
        ([config(), config()], "CONFIG_REPEATED"),
        ([config(), Request(audio=b"12"), Request()], "MESSAGE_EMPTY"),
        ([config(), Request(audio=b"123")], "AUDIO_TRUNCATED"),
        ([config(), Request(audio=bytes(20_001))], "AUDIO_TOO_LARGE"),
        ([config(), *[Request(audio=bytes(20_000))] * 4], "AUDIO_TOO_LONG"),
        ([config(format=FLOATS), Request(audio=b"\xff\xff\xff\xff")], "AUDIO_NOT_FINITE"),
        ([config(format=None)], "AUDIO_ENCODING_UNSUPPORTED"),
        (
            [config(format=speech_pb2.AudioFormat(encoding=speech_pb2.AUDIO_ENCODING_CONTAINER))],
            "AUDIO_ENCODING_UNSUPPORTED",
        ),
        ([config(format=unknown_encoding())], "AUDIO_ENCODING_UNKNOWN"),
        ([config(format=speech_pb2.AudioFormat(encoding=PCM.encoding))], "AUDIO_RATE_UNSUPPORTED"),
        (
            [
                config(
                    format=speech_pb2.AudioFormat(
                        encoding=PCM.encoding, sample_rate_hertz=RATE, channel_count=99
                    )
                )
            ],
            "AUDIO_CHANNELS_UNSUPPORTED",
        ),
        ([config(language_code="fr-FR")], "LANGUAGE_UNSUPPORTED"),
        ([config(phrases=[speech_pb2.Phrase(text="")])], "PHRASE_INVALID"),
        ([config(endpoint_silence=duration_pb2.Duration(seconds=60))], "PARAMETER_OUT_OF_RANGE"),
        ([config(endpoint_silence=duration_pb2.Duration(seconds=-1))], "PARAMETER_OUT_OF_RANGE"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_not_right_is_refused_by_name(
    start_speech: StartSpeech, requests: list[Request], reason: str
) -> None:
    async with start_speech(max_stream_chunk_bytes=20_000, max_stream_seconds=2) as speech:
        assert await refusal(speech, *requests) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


async def test_a_client_that_writes_on_still_hears_why_it_was_refused(speech: Stub) -> None:
    refused = [config(language_code="fr-FR"), *[Request(audio=bytes(3_200))] * 100]
    assert await refusal(speech, *refused) == (grpc.StatusCode.INVALID_ARGUMENT, "LANGUAGE_UNSUPPORTED")


async def test_a_refusal_does_not_wait_for_the_half_close(speech: Stub) -> None:
    call = speech.StreamTranscribe(timeout=LIMIT_S)
    await call.write(Request(audio=b"12"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert reason_of(refused.value) == "CONFIG_MISSING"


async def test_a_stream_to_which_nothing_comes_is_ended(start_speech: StartSpeech) -> None:
    async with start_speech(stream_idle_seconds=0.3) as speech:
        for begun in ([], [config()], [config(), Request(audio=bytes(320)), Request(audio=b"")]):
            call = speech.StreamTranscribe(timeout=LIMIT_S)
            for request in begun:
                await call.write(request)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call.read()
            assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert reason_of(refused.value) == "AUDIO_STALLED"


async def test_one_stream_too_many_is_refused_until_another_ends(
    start_speech: StartSpeech, pcm: bytes
) -> None:
    async with start_speech(max_streams=1) as speech:
        first = speech.StreamTranscribe(timeout=LIMIT_S)
        for request in (config(), *pieces(pcm, 32_000)):
            await first.write(request)
        assert await first.read() is not grpc.aio.EOF  # it has begun
        assert await refusal(speech, config()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        first.cancel()
        await until(lambda: streams() == 0)
        assert finals(await hear(speech, [config(), *pieces(pcm, 32_000)]))


async def test_a_stream_that_is_refused_takes_no_place(start_speech: StartSpeech, pcm: bytes) -> None:
    async with start_speech(max_streams=1) as speech:
        refused = speech.StreamTranscribe(timeout=LIMIT_S)
        await refused.write(Request(audio=b"12"))

        async def write_on() -> None:
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                while True:
                    await refused.write(Request(audio=bytes(320)))
                    await asyncio.sleep(0.01)

        writing = asyncio.create_task(write_on())
        await asyncio.sleep(LONGEST_DRAIN_S / 2)  # refused by now, and still being drained
        assert finals(await hear(speech, [config(), *pieces(pcm, 32_000)]))
        writing.cancel()
        refused.cancel()


async def test_a_client_that_reads_nothing_is_told_so_when_it_reads_again(tmp_path: Path, pcm: bytes) -> None:
    narrow = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    async with (
        listening(write_speech_bundle(tmp_path).parent, stall_seconds=0.5) as target,
        grpc.aio.insecure_channel(target, options=narrow) as channel,
    ):
        call = speech_pb2_grpc.SpeechServiceStub(channel).StreamTranscribe(timeout=LIMIT_S)
        status = CallStatus(call)
        await call.write(config())

        async def speak_on() -> None:
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                while True:
                    await call.write(Request(audio=pcm))

        speaking = asyncio.create_task(speak_on())
        await until(lambda: streams() == 1)
        await until(lambda: streams() == 0, patience_s=60)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await drained(call)
        speaking.cancel()
        assert reason_of(await status.told(refused.value)) == "RESULTS_UNREAD"


async def drained(call: Any) -> None:
    async for _ in call:
        pass


async def test_bytes_that_are_no_message_end_a_stream_at_once(tmp_path: Path) -> None:
    async with connected(write_speech_bundle(tmp_path).parent) as channel:
        method = "/autoglm.speech.v1.SpeechService/StreamTranscribe"
        call: Any = channel.stream_stream(method)(timeout=LIMIT_S)
        await call.write(config().SerializeToString())
        await call.write(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
    assert reason_of(refused.value) == "MESSAGE_INVALID"


@pytest.mark.parametrize("seed", range(4))
async def test_random_bytes_are_sound_like_any_other(speech: Stub, seed: int) -> None:
    noise = random.Random(seed).randbytes(100_000)
    responses = await hear(speech, [config(), *pieces(noise, *WIDTHS, seed=seed)])
    begun = sum(response.speech_event.type == 1 for response in responses)
    assert len(finals(responses)) == begun
    floats = [config(format=FLOATS), *pieces(noise, *WIDTHS, seed=seed)]
    assert await refusal(speech, *floats) == (grpc.StatusCode.INVALID_ARGUMENT, "AUDIO_NOT_FINITE")


@pytest.mark.parametrize("after", [0, 1, 5, 20, 40])
async def test_a_client_that_leaves_frees_everything(speech: Stub, pcm: bytes, after: int) -> None:
    call = speech.StreamTranscribe(timeout=LIMIT_S)
    for request in [config(), *pieces(pcm, 3_200)][:after]:
        await call.write(request)
    call.cancel()
    await until(lambda: streams() == 0)
    await until(lambda: not [task for task in asyncio.all_tasks() if "speech/streaming" in repr(task)])


async def test_a_client_that_stops_sending_holds_up_nobody(speech: Stub, pcm: bytes) -> None:
    frozen = speech.StreamTranscribe(timeout=LIMIT_S)
    for request in (config(), *pieces(pcm, 3_200)[:20]):
        await frozen.write(request)
    assert finals(await hear(speech, [config(), *pieces(pcm, 3_200)]))
    frozen.cancel()
