"""StreamTranscribe tells what is said: the same however it was cut, and whoever else is heard."""

import asyncio
import hashlib
import itertools
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import duration_pb2

from autoglm.speech.v1 import speech_pb2
from services.speech.audio import AudioFormat, Encoding
from services.speech.digests import wav_header
from tests.contract.speech_streams import (
    FLOATS,
    LIMIT_S,
    PCM,
    RATE,
    WIDTHS,
    Request,
    Response,
    StartSpeech,
    Stub,
    config,
    finals,
    hear,
    pieces,
)


async def test_speech_is_told_from_beginning_to_end(speech: Stub, pcm: bytes) -> None:
    responses = await hear(speech, [config(), *pieces(pcm, 3_200)])
    events = [response.speech_event for response in responses if response.HasField("speech_event")]
    assert [event.type for event in events] == [
        speech_pb2.SPEECH_EVENT_TYPE_SPEECH_BEGIN,
        speech_pb2.SPEECH_EVENT_TYPE_SPEECH_END,
    ]
    [final] = finals(responses)
    assert final.segment.start_offset == events[0].offset
    assert final.segment.end_offset == events[1].offset
    assert final.text == final.segment.text == "".join(one.text for one in final.segment.characters)
    assert final.stable_character_count == len(final.text) > 0
    processed = [response.audio_processed.ToNanoseconds() for response in responses]
    assert processed == sorted(processed)
    assert processed[-1] <= 1e9 * len(pcm) / 2 / RATE


async def test_interim_text_comes_unless_it_is_not_wanted_and_what_is_stable_stays(
    speech: Stub, pcm: bytes
) -> None:
    results = [
        one.result for one in await hear(speech, [config(), *pieces(pcm, 3_200)]) if one.HasField("result")
    ]
    assert len(results) > 2
    assert {result.utterance_index for result in results} == {0}
    for before, after in itertools.pairwise(results):
        stable = before.text[: before.stable_character_count]
        assert after.text.startswith(stable)
    quiet = await hear(speech, [config(interim_results=False), *pieces(pcm, 3_200)])
    assert [one.result for one in quiet if one.HasField("result")] == results[-1:]


@pytest.mark.parametrize("seed", range(3))
async def test_it_hears_the_same_in_pieces_of_any_size_as_in_one(speech: Stub, pcm: bytes, seed: int) -> None:
    whole = await speech.Transcribe(speech_pb2.TranscribeRequest(audio=pcm, format=PCM), timeout=LIMIT_S)
    [final] = finals(await hear(speech, [config(), *pieces(pcm, *WIDTHS, seed=seed)]))
    assert final.text == whole.text != ""
    assert final.segment == whole.segments[0]


async def test_floats_and_several_channels_are_heard_like_the_same_sound_in_one(
    speech: Stub, pcm: bytes
) -> None:
    [expected] = finals(await hear(speech, [config(), *pieces(pcm, 3_200)]))
    samples = np.frombuffer(pcm, "<i2")
    floats = (samples.astype("<f4") / 32_768).tobytes()
    stereo = np.stack([samples, samples], 1).tobytes()
    two = speech_pb2.AudioFormat(encoding=PCM.encoding, sample_rate_hertz=RATE, channel_count=2)
    assert finals(await hear(speech, [config(format=FLOATS), *pieces(floats, 3_203)])) == [expected]
    assert finals(await hear(speech, [config(format=two), *pieces(stereo, 3_203)])) == [expected]


async def test_encoding_the_utterance_as_a_file_needs_no_forward_pass(speech: Stub, pcm: bytes) -> None:
    [final] = finals(await hear(speech, [config(), *pieces(pcm, 3_200)]))
    start, end = (
        round(offset.ToNanoseconds() * RATE / 1e9) * 2
        for offset in (final.segment.start_offset, final.segment.end_offset)
    )
    header = wav_header(end - start, AudioFormat(Encoding.PCM_S16LE, RATE))
    file = header + pcm[start:end]
    assert hashlib.sha256(file).digest() == final.media_digest
    first, *_ = [
        part async for part in speech.EncodeAudio(speech_pb2.EncodeAudioRequest(audio=file), timeout=LIMIT_S)
    ]
    assert first.header.cache_hit
    assert first.header.transcript == final.text
    assert first.header.embedding.media_digest == final.media_digest


@pytest.mark.parametrize(
    "values",
    [{"endpoint_silence": duration_pb2.Duration(seconds=3)}, {"phrases": [speech_pb2.Phrase(text="好")]}],
)
async def test_what_another_caller_would_not_hear_in_the_file_is_not_remembered_for_it(
    speech: Stub, pcm: bytes, values: dict[str, Any]
) -> None:
    [final] = finals(await hear(speech, [config(**values), *pieces(pcm + bytes(6 * RATE), 3_200)]))
    start, end = (
        round(offset.ToNanoseconds() * RATE / 1e9) * 2
        for offset in (final.segment.start_offset, final.segment.end_offset)
    )
    file = wav_header(end - start, AudioFormat(Encoding.PCM_S16LE, RATE)) + pcm[start:end]
    encoding = speech.EncodeAudio(speech_pb2.EncodeAudioRequest(audio=file), timeout=LIMIT_S)
    first, *_ = [part async for part in encoding]
    assert not first.header.cache_hit


async def test_what_was_said_before_the_limit_is_told_however_it_was_cut(
    start_speech: StartSpeech, pcm: bytes
) -> None:
    async with start_speech(max_stream_seconds=6) as speech:
        told = [await heard_before_refusal(speech, pieces(2 * pcm, width)) for width in (3_200, 1_000_000)]
    assert told[0] == told[1]
    assert told[0]


async def heard_before_refusal(speech: Stub, audio: list[Request]) -> list[str]:
    texts: list[str] = []
    try:
        async for response in speech.StreamTranscribe(iter([config(), *audio]), timeout=LIMIT_S):
            texts += [response.result.text] if response.result.is_final else []
    except grpc.aio.AioRpcError:
        return texts
    raise AssertionError("it was not refused")


async def test_a_stream_without_speech_ends_without_a_word(speech: Stub) -> None:
    assert await hear(speech, [config(), Request(audio=bytes(2 * RATE))]) == []
    assert await hear(speech, [config()]) == []


async def test_results_come_while_the_client_is_still_speaking(speech: Stub, pcm: bytes) -> None:
    call = speech.StreamTranscribe(timeout=LIMIT_S)
    for request in (config(), *pieces(pcm, 3_200)):
        await call.write(request)
    response = await call.read()
    while not (isinstance(response, Response) and response.result.is_final):
        response = await call.read()
        assert response is not grpc.aio.EOF
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_streams_that_share_the_recogniser_do_not_hear_each_other(speech: Stub, pcm: bytes) -> None:
    samples = np.frombuffer(pcm, "<i2")
    voices = [(samples[start:] // (start % 3 + 1)).tobytes() for start in range(0, 32_000, 8_000)]
    requests = [
        [config(), *pieces(voice, width, width * 3)]
        for voice, width in zip(voices, (333, 1_600, 12_000, 50_001), strict=True)
    ]
    alone = [finals(await hear(speech, own)) for own in requests]
    together = await asyncio.gather(*(hear(speech, own) for own in requests * 2))
    assert [finals(own) for own in together] == alone * 2
    assert len({own[0].text for own in alone}) > 1
