"""StreamTranscribe against its contract, over the wire, with a tiny random recogniser."""

import asyncio
import hashlib
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import numpy as np
import pytest
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from servicekit.call_status import CallStatus
from servicekit.channel import open_channel
from servicekit.server import running
from services.speech import metrics
from services.speech.audio import AudioFormat, Encoding, read_clip
from services.speech.digests import wav_header
from services.speech.service import create_service
from services.speech.settings import SpeechSettings
from services.speech.streaming.streams import LONGEST_DRAIN_S
from tests.bundles import write_speech_bundle

Stub: TypeAlias = "speech_pb2_grpc.SpeechServiceAsyncStub"  # exists for type checkers only
Request = speech_pb2.StreamTranscribeRequest
Response = speech_pb2.StreamTranscribeResponse
Start = Callable[..., AbstractAsyncContextManager[Stub]]
LIMIT_S = 60.0
RATE = 16_000
SPOKEN = Path(__file__).parents[1] / "speech" / "clips" / "apple.opus"
PCM = speech_pb2.AudioFormat(encoding=speech_pb2.AUDIO_ENCODING_PCM_S16LE, sample_rate_hertz=RATE)
FLOATS = speech_pb2.AudioFormat(encoding=speech_pb2.AUDIO_ENCODING_PCM_F32LE, sample_rate_hertz=RATE)
WIDTHS = (1, 7, 640, 3_201, 50_000)


@pytest.fixture(scope="module")
def pcm() -> bytes:
    """Three seconds of a real voice, and a second of silence."""
    samples = read_clip(SPOKEN.read_bytes(), AudioFormat(), max_seconds=60).samples
    return (samples[: 3 * RATE] * 32_767).astype("<i2").tobytes() + bytes(2 * RATE)


@asynccontextmanager
async def listening(bundle: Path, **values: Any) -> AsyncIterator[str]:
    settings = SpeechSettings(port=0, health_port=0, metrics_port=None, model=bundle, device="cpu", **values)
    async with running(await create_service(settings), settings) as server:
        yield f"127.0.0.1:{server.port}"


@asynccontextmanager
async def connected(bundle: Path, **values: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with listening(bundle, **values) as target, open_channel(target) as channel:
        yield channel


@pytest.fixture
def start(tmp_path: Path) -> Start:
    bundle = write_speech_bundle(tmp_path).parent

    @asynccontextmanager
    async def start(**values: Any) -> AsyncIterator[Stub]:
        async with connected(bundle, **values) as channel:
            yield speech_pb2_grpc.SpeechServiceStub(channel)

    return start


@pytest.fixture
async def stub(start: Start) -> AsyncIterator[Stub]:
    async with start() as stub:
        yield stub


def config(**values: Any) -> Request:
    return Request(config=speech_pb2.StreamTranscribeConfig(**{"format": PCM, **values}))


def unknown_encoding() -> speech_pb2.AudioFormat:
    """From a later contract: field 1 is 77."""
    return speech_pb2.AudioFormat.FromString(b"\x08\x4d")


def pieces(data: bytes, *widths: int, seed: int = 0) -> list[Request]:
    draw, place, found = random.Random(seed), 0, []
    while place < len(data):
        width = draw.choice(widths)
        found.append(Request(audio=data[place : place + width]))
        place += width
    return found


async def hear(stub: Stub, requests: Sequence[Request]) -> list[Response]:
    call = stub.StreamTranscribe(iter(requests), timeout=LIMIT_S)
    status = CallStatus(call)
    try:
        return [response async for response in call]
    except grpc.aio.AioRpcError as error:
        raise await status.told(error) from error


def finals(responses: Sequence[Response]) -> list[speech_pb2.StreamTranscribeResult]:
    return [response.result for response in responses if response.result.is_final]


async def refusal(stub: Stub, *requests: Request) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await hear(stub, requests)
    return refused.value.code(), reason_of(refused.value)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    status, info = rpc_status.from_call(error), error_details_pb2.ErrorInfo()
    assert status is not None
    assert status.details[0].Unpack(info)
    return str(info.reason)


async def test_speech_is_told_from_beginning_to_end(stub: Stub, pcm: bytes) -> None:
    responses = await hear(stub, [config(), *pieces(pcm, 3_200)])
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
    stub: Stub, pcm: bytes
) -> None:
    results = [
        one.result for one in await hear(stub, [config(), *pieces(pcm, 3_200)]) if one.HasField("result")
    ]
    assert len(results) > 2
    assert {result.utterance_index for result in results} == {0}
    for before, after in itertools.pairwise(results):
        stable = before.text[: before.stable_character_count]
        assert after.text.startswith(stable)
    quiet = await hear(stub, [config(interim_results=False), *pieces(pcm, 3_200)])
    assert [one.result for one in quiet if one.HasField("result")] == results[-1:]


@pytest.mark.parametrize("seed", range(3))
async def test_it_hears_the_same_in_pieces_of_any_size_as_in_one(stub: Stub, pcm: bytes, seed: int) -> None:
    whole = await stub.Transcribe(speech_pb2.TranscribeRequest(audio=pcm, format=PCM), timeout=LIMIT_S)
    [final] = finals(await hear(stub, [config(), *pieces(pcm, *WIDTHS, seed=seed)]))
    assert final.text == whole.text != ""
    assert final.segment == whole.segments[0]


async def test_floats_and_several_channels_are_heard_like_the_same_sound_in_one(
    stub: Stub, pcm: bytes
) -> None:
    [expected] = finals(await hear(stub, [config(), *pieces(pcm, 3_200)]))
    samples = np.frombuffer(pcm, "<i2")
    floats = (samples.astype("<f4") / 32_768).tobytes()
    stereo = np.stack([samples, samples], 1).tobytes()
    two = speech_pb2.AudioFormat(encoding=PCM.encoding, sample_rate_hertz=RATE, channel_count=2)
    assert finals(await hear(stub, [config(format=FLOATS), *pieces(floats, 3_203)])) == [expected]
    assert finals(await hear(stub, [config(format=two), *pieces(stereo, 3_203)])) == [expected]


async def test_encoding_the_utterance_as_a_file_needs_no_forward_pass(stub: Stub, pcm: bytes) -> None:
    [final] = finals(await hear(stub, [config(), *pieces(pcm, 3_200)]))
    start, end = (
        round(offset.ToNanoseconds() * RATE / 1e9) * 2
        for offset in (final.segment.start_offset, final.segment.end_offset)
    )
    header = wav_header(end - start, AudioFormat(Encoding.PCM_S16LE, RATE))
    file = header + pcm[start:end]
    assert hashlib.sha256(file).digest() == final.media_digest
    first, *_ = [
        part async for part in stub.EncodeAudio(speech_pb2.EncodeAudioRequest(audio=file), timeout=LIMIT_S)
    ]
    assert first.header.cache_hit
    assert first.header.transcript == final.text
    assert first.header.embedding.media_digest == final.media_digest


@pytest.mark.parametrize(
    "values",
    [{"endpoint_silence": duration_pb2.Duration(seconds=3)}, {"phrases": [speech_pb2.Phrase(text="好")]}],
)
async def test_what_another_caller_would_not_hear_in_the_file_is_not_remembered_for_it(
    stub: Stub, pcm: bytes, values: dict[str, Any]
) -> None:
    [final] = finals(await hear(stub, [config(**values), *pieces(pcm + bytes(6 * RATE), 3_200)]))
    start, end = (
        round(offset.ToNanoseconds() * RATE / 1e9) * 2
        for offset in (final.segment.start_offset, final.segment.end_offset)
    )
    file = wav_header(end - start, AudioFormat(Encoding.PCM_S16LE, RATE)) + pcm[start:end]
    encoding = stub.EncodeAudio(speech_pb2.EncodeAudioRequest(audio=file), timeout=LIMIT_S)
    first, *_ = [part async for part in encoding]
    assert not first.header.cache_hit


async def test_what_was_said_before_the_limit_is_told_however_it_was_cut(start: Start, pcm: bytes) -> None:
    async with start(max_stream_seconds=6) as stub:
        told = [await heard_before_refusal(stub, pieces(2 * pcm, width)) for width in (3_200, 1_000_000)]
    assert told[0] == told[1]
    assert told[0]


async def heard_before_refusal(stub: Stub, audio: list[Request]) -> list[str]:
    texts: list[str] = []
    try:
        async for response in stub.StreamTranscribe(iter([config(), *audio]), timeout=LIMIT_S):
            texts += [response.result.text] if response.result.is_final else []
    except grpc.aio.AioRpcError:
        return texts
    raise AssertionError("it was not refused")


async def test_a_stream_without_speech_ends_without_a_word(stub: Stub) -> None:
    assert await hear(stub, [config(), Request(audio=bytes(2 * RATE))]) == []
    assert await hear(stub, [config()]) == []


async def test_results_come_while_the_client_is_still_speaking(stub: Stub, pcm: bytes) -> None:
    call = stub.StreamTranscribe(timeout=LIMIT_S)
    for request in (config(), *pieces(pcm, 3_200)):
        await call.write(request)
    response = await call.read()
    while not (isinstance(response, Response) and response.result.is_final):
        response = await call.read()
        assert response is not grpc.aio.EOF
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


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
    start: Start, requests: list[Request], reason: str
) -> None:
    async with start(max_stream_chunk_bytes=20_000, max_stream_seconds=2) as stub:
        assert await refusal(stub, *requests) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


async def test_a_client_that_writes_on_still_hears_why_it_was_refused(stub: Stub) -> None:
    refused = [config(language_code="fr-FR"), *[Request(audio=bytes(3_200))] * 100]
    assert await refusal(stub, *refused) == (grpc.StatusCode.INVALID_ARGUMENT, "LANGUAGE_UNSUPPORTED")


async def test_a_refusal_does_not_wait_for_the_half_close(stub: Stub) -> None:
    call = stub.StreamTranscribe(timeout=LIMIT_S)
    await call.write(Request(audio=b"12"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert reason_of(refused.value) == "CONFIG_MISSING"


async def test_a_stream_to_which_nothing_comes_is_ended(start: Start) -> None:
    async with start(stream_idle_seconds=0.3) as stub:
        for begun in ([], [config()], [config(), Request(audio=bytes(320)), Request(audio=b"")]):
            call = stub.StreamTranscribe(timeout=LIMIT_S)
            for request in begun:
                await call.write(request)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call.read()
            assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert reason_of(refused.value) == "AUDIO_STALLED"


async def test_one_stream_too_many_is_refused_until_another_ends(start: Start, pcm: bytes) -> None:
    async with start(max_streams=1) as stub:
        first = stub.StreamTranscribe(timeout=LIMIT_S)
        for request in (config(), *pieces(pcm, 32_000)):
            await first.write(request)
        assert await first.read() is not grpc.aio.EOF  # it has begun
        assert await refusal(stub, config()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        first.cancel()
        await until(lambda: streams() == 0)
        assert finals(await hear(stub, [config(), *pieces(pcm, 32_000)]))


async def test_a_stream_that_is_refused_takes_no_place(start: Start, pcm: bytes) -> None:
    async with start(max_streams=1) as stub:
        refused = stub.StreamTranscribe(timeout=LIMIT_S)
        await refused.write(Request(audio=b"12"))

        async def write_on() -> None:
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                while True:
                    await refused.write(Request(audio=bytes(320)))
                    await asyncio.sleep(0.01)

        writing = asyncio.create_task(write_on())
        await asyncio.sleep(LONGEST_DRAIN_S / 2)  # refused by now, and still being drained
        assert finals(await hear(stub, [config(), *pieces(pcm, 32_000)]))
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
async def test_random_bytes_are_sound_like_any_other(stub: Stub, seed: int) -> None:
    noise = random.Random(seed).randbytes(100_000)
    responses = await hear(stub, [config(), *pieces(noise, *WIDTHS, seed=seed)])
    begun = sum(response.speech_event.type == 1 for response in responses)
    assert len(finals(responses)) == begun
    floats = [config(format=FLOATS), *pieces(noise, *WIDTHS, seed=seed)]
    assert await refusal(stub, *floats) == (grpc.StatusCode.INVALID_ARGUMENT, "AUDIO_NOT_FINITE")


@pytest.mark.parametrize("after", [0, 1, 5, 20, 40])
async def test_a_client_that_leaves_frees_everything(stub: Stub, pcm: bytes, after: int) -> None:
    call = stub.StreamTranscribe(timeout=LIMIT_S)
    for request in [config(), *pieces(pcm, 3_200)][:after]:
        await call.write(request)
    call.cancel()
    await until(lambda: streams() == 0)
    await until(lambda: not [task for task in asyncio.all_tasks() if "speech/streaming" in repr(task)])


async def test_streams_that_share_the_recogniser_do_not_hear_each_other(stub: Stub, pcm: bytes) -> None:
    samples = np.frombuffer(pcm, "<i2")
    voices = [(samples[start:] // (start % 3 + 1)).tobytes() for start in range(0, 32_000, 8_000)]
    requests = [
        [config(), *pieces(voice, width, width * 3)]
        for voice, width in zip(voices, (333, 1_600, 12_000, 50_001), strict=True)
    ]
    alone = [finals(await hear(stub, own)) for own in requests]
    together = await asyncio.gather(*(hear(stub, own) for own in requests * 2))
    assert [finals(own) for own in together] == alone * 2
    assert len({own[0].text for own in alone}) > 1


async def test_a_client_that_stops_sending_holds_up_nobody(stub: Stub, pcm: bytes) -> None:
    frozen = stub.StreamTranscribe(timeout=LIMIT_S)
    for request in (config(), *pieces(pcm, 3_200)[:20]):
        await frozen.write(request)
    assert finals(await hear(stub, [config(), *pieces(pcm, 3_200)]))
    frozen.cancel()


def streams() -> float:
    """Live streams that the service counts."""
    return float(metrics.STREAMS._value.get())


async def until(true: Callable[[], bool], patience_s: float = 10) -> None:
    async with asyncio.timeout(patience_s):
        while not true():
            await asyncio.sleep(0.02)
