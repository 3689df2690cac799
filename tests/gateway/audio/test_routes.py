"""The audio API on a real socket: clips in every format, refusals, text while it is heard."""

import asyncio
import io
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import av
import httpx
import openai
import pytest
from openai.types.audio import TranscriptionTextDoneEvent, TranscriptionVerbose

from servicekit.errors import InvalidArgument, Unavailable
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.scripted_llm import ScriptedLLM
from tests.gateway.scripted_speech import MODEL, ScriptedSpeech, ends, hears, settles

TRANSCRIPTIONS = "/v1/audio/transcriptions"
RATE = 16_000
FIELD = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n--b--\r\n'


def clip(
    seconds: float = 1.0,
    rate: int = RATE,
    container: str = "wav",
    codec: str = "pcm_s16le",
    before: bytes = b"",
) -> bytes:
    """A saw-tooth behind other samples, encoded."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        samples = before + b"".join(struct.pack("<h", n * 97 % 8000) for n in range(int(seconds * rate)))
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
        frame.sample_rate = rate
        frame.planes[0].update(samples)
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=stream.rate, frame_size=960)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return file.getvalue()


@pytest.fixture
async def client(hearing_gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    base_url = f"{hearing_gateway.server.url}/v1"
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key="EMPTY", http_client=http, max_retries=0
    ) as client:
        yield client


async def upload(gateway: Gateway, audio: bytes = b"RIFF", /, **fields: Any) -> Any:
    return await gateway.http.post(TRANSCRIPTIONS, files={"file": ("a.wav", audio)}, data=fields)


async def streamed(gateway: Gateway, audio: bytes, **fields: Any) -> list[Any]:
    response = await upload(gateway, audio, stream="true", **fields)
    assert response.status_code == 200, response.text
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def test_openai_reads_a_transcription(client: openai.AsyncOpenAI, speech: ScriptedSpeech) -> None:
    answer = await client.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", b"RIFF"), language="zh", prompt="红烧肉，宫保鸡丁", temperature=0.2
    )
    assert answer.text == "你好世界"
    assert answer.usage is not None
    (request,) = speech.transcribed
    assert (request.audio, request.language_code) == (b"RIFF", "zh-CN")
    assert [phrase.text for phrase in request.phrases] == ["红烧肉", "宫保鸡丁"]


async def test_openai_reads_segments_and_words(client: openai.AsyncOpenAI) -> None:
    answer = await client.audio.transcriptions.create(
        model=MODEL,
        file=("a.wav", b"RIFF"),
        response_format="verbose_json",
        timestamp_granularities=["segment", "word"],
    )
    assert isinstance(answer, TranscriptionVerbose)
    TranscriptionVerbose.model_validate_json(answer.model_dump_json())
    assert answer.segments is not None
    assert answer.words is not None
    assert [(one.start, one.end, one.text) for one in answer.segments] == [
        (0.25, 0.75, "你好"),
        (61.0, 3661.5, "世界"),
    ]
    assert [(one.word, one.start, one.end) for one in answer.words][:2] == [
        ("你", 0.25, 0.5),
        ("好", 0.5, 0.75),
    ]
    assert answer.segments[0].avg_logprob == pytest.approx(-0.105, abs=1e-3)


async def test_openai_reads_a_stream(client: openai.AsyncOpenAI, speech: ScriptedSpeech) -> None:
    stream = await client.audio.transcriptions.create(model=MODEL, file=("a.wav", clip()), stream=True)
    events = [event async for event in stream]
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert deltas == ["这", "是什么"]
    assert isinstance(events[-1], TranscriptionTextDoneEvent)
    assert events[-1].text == "这是什么"
    assert len(speech.streams[0]) == 2 * RATE


SRT = "1\n00:00:00,250 --> 00:00:00,750\n你好\n\n2\n00:01:01,000 --> 01:01:01,500\n世界\n\n"
VTT = "WEBVTT\n\n00:00:00.250 --> 00:00:00.750\n你好\n\n00:01:01.000 --> 01:01:01.500\n世界\n\n"


@pytest.mark.parametrize(("response_format", "text"), [("text", "你好世界\n"), ("srt", SRT), ("vtt", VTT)])
async def test_text_and_subtitles(response_format: str, text: str, hearing_gateway: Gateway) -> None:
    response = await upload(hearing_gateway, response_format=response_format)
    assert response.text == text


async def test_segments_are_left_out_when_only_words_are_asked_for(hearing_gateway: Gateway) -> None:
    fields: dict[str, Any] = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    answer = (await upload(hearing_gateway, **fields)).json()
    assert "segments" not in answer
    assert len(answer["words"]) == 4


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 8000),
        ("wav", "pcm_f32le", 44_100),
        ("flac", "flac", 24_000),
        ("ogg", "libopus", 48_000),
        ("webm", "libopus", 48_000),
        ("mp3", "libmp3lame", 44_100),
    ],
)
async def test_every_container_is_heard_at_its_own_rate(
    container: str, codec: str, rate: int, speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    *_, last, _ = await streamed(hearing_gateway, clip(2.0, rate, container, codec))
    assert last == {"type": "transcript.text.done", "text": "这是什么"}
    assert speech.configs[0].format.sample_rate_hertz == rate
    assert len(speech.streams[0]) / 2 / rate == pytest.approx(2.0, abs=0.1)


async def test_deltas_of_several_utterances_add_up(speech: ScriptedSpeech, hearing_gateway: Gateway) -> None:
    speech.will(
        hears(0.2, "你号", 1),
        ends(0.3),
        settles(0.4, "你好", 0.0, 0.3),
        settles(0.9, "世界", 0.5, 0.8, index=1),
    )
    events = await streamed(hearing_gateway, clip())
    assert events.pop() == "[DONE]"
    assert events.pop() == {"type": "transcript.text.done", "text": "你好世界"}
    assert [event["delta"] for event in events] == ["你", "好", "世界"]


async def test_a_stream_that_fails_ends_with_an_error_and_no_done(
    speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    speech.will(hears(0.2, "你", 1), (0.5, Unavailable("SHUTTING_DOWN", "Going away.")))
    *_, last = await streamed(hearing_gateway, clip())
    assert last["error"]["code"] == "SHUTTING_DOWN"


async def test_a_refusal_before_the_first_text_is_an_http_status(
    speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    speech.will((0.2, InvalidArgument("AUDIO_TOO_SHORT", "Too short.", field="audio")))
    response = await upload(hearing_gateway, clip(), stream="true")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "AUDIO_TOO_SHORT")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"language": "en"}, "language", "language_unsupported"),
        ({"response_format": "diarized_json"}, "response_format", "invalid_value"),
        ({"temperature": "2"}, "temperature", "invalid_value"),
        ({"temperature": "nan"}, "temperature", "invalid_value"),
        ({"stream": "true", "response_format": "srt"}, "response_format", "invalid_value"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities", "invalid_value"),
        (
            {"timestamp_granularities[]": "year", "response_format": "verbose_json"},
            "timestamp_granularities",
            "invalid_value",
        ),
        ({"include[]": "logprobs"}, "include", "invalid_value"),
        ({"prompt": " ".join(map(str, range(200)))}, "prompt", "too_many_phrases"),
    ],
)
async def test_what_cannot_be_done_is_named(
    fields: dict[str, Any], param: str, code: str, speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    response = await upload(hearing_gateway, **fields)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, code)
    assert speech.transcribed == []


@pytest.mark.parametrize(
    ("audio", "code"),
    [
        (b"#EXTM3U\nfile:///etc/passwd", "AUDIO_UNSUPPORTED"),
        (b"RIFF" + bytes(60), "AUDIO_UNREADABLE"),
        (clip()[:-2000], "AUDIO_TRUNCATED"),
        (clip(container="ogg", codec="libopus", rate=48_000)[:-500], "AUDIO_TRUNCATED"),
        (clip(62), "AUDIO_TOO_LONG"),
        (b"\xff\xfb" + b"text posing as sound" * 9, "AUDIO_UNREADABLE"),
    ],
)
async def test_a_stream_of_no_audio_is_refused(audio: bytes, code: str, hearing_gateway: Gateway) -> None:
    response = await upload(hearing_gateway, audio, stream="true")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, code, "file")


async def test_a_clip_that_says_it_is_too_long_is_not_heard_first(
    speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    await upload(hearing_gateway, clip(62), stream="true")
    assert speech.streams == []


@pytest.mark.parametrize(("container", "codec"), [("ogg", "libopus"), ("adts", "aac"), ("mp3", "libmp3lame")])
async def test_a_clip_just_within_the_limit_is_heard(
    container: str, codec: str, hearing_gateway: Gateway
) -> None:
    quiet = bytes(20 * 2 * 48_000)
    *_, done = await streamed(hearing_gateway, clip(39.9, 48_000, container, codec, before=quiet))
    assert done == "[DONE]"


async def test_a_stream_of_next_to_nothing_is_too_short(
    speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    speech.will()
    response = await upload(hearing_gateway, clip(0.05), stream="true")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "AUDIO_TOO_SHORT")


async def test_a_service_that_refuses_a_clip_blames_the_file(
    speech: ScriptedSpeech, hearing_gateway: Gateway
) -> None:
    speech.refusal = InvalidArgument("AUDIO_UNREADABLE", "It is no sound.", field="audio")
    error = (await upload(hearing_gateway)).json()["error"]
    assert (error["code"], error["param"]) == ("AUDIO_UNREADABLE", "file")


async def test_another_model_is_a_404(hearing_gateway: Gateway) -> None:
    response = await upload(hearing_gateway, model="tts-1")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("route", ["translations", "speech"])
async def test_what_is_not_offered_is_refused_by_name(route: str, hearing_gateway: Gateway) -> None:
    response = await hearing_gateway.http.post(f"/v1/audio/{route}", json={})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "unsupported_endpoint")


async def test_where_no_speech_is_served_it_is_refused_by_name(start_gateway: StartGateway) -> None:
    async with start_gateway(speech_target="") as gateway:
        response = await upload(gateway)
    assert (response.status_code, response.json()["error"]["code"]) == (501, "SPEECH_NOT_AVAILABLE")


async def test_without_the_service_it_is_unavailable(gateway: Gateway, llm: ScriptedLLM) -> None:
    response = await upload(gateway)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "SPEECH_UNAVAILABLE")


@pytest.fixture
async def narrow(speech: ScriptedSpeech, start_gateway: StartGateway) -> AsyncIterator[Gateway]:
    """Takes files of 64 KiB."""
    async with start_gateway(speech_target=f"127.0.0.1:{speech.port}", max_upload_bytes=1 << 16) as gateway:
        yield gateway


async def test_an_endless_upload_is_refused_while_it_is_sent(narrow: Gateway) -> None:
    url = httpx.URL(narrow.server.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked"
    writer.write(f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: gateway\r\n{head}\r\n\r\n".encode())
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + bytes(1 << 19)
    writer.write(b"%x\r\n%b\r\n" % (len(part), part))  # and no end
    await writer.drain()
    assert b" 413 " in await reader.readline()
    writer.close()


async def test_a_file_beyond_the_limit_is_refused(speech: ScriptedSpeech, narrow: Gateway) -> None:
    announced = await upload(narrow, bytes(1 << 20))
    assert (announced.status_code, announced.json()["error"]["code"]) == (413, "request_too_large")
    one_byte = await upload(narrow, bytes((1 << 16) + 1))
    assert (one_byte.status_code, one_byte.json()["error"]["param"]) == (413, "file")
    assert (await upload(narrow, bytes(1 << 16))).status_code == 200
    assert len(speech.transcribed) == 1


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        ({"content-type": "application/json"}, b"{}", "invalid_content_type"),
        ({"content-type": "multipart/form-datax; boundary=b"}, b"--b--", "invalid_content_type"),
        ({"content-type": "Multipart/Form-Data; boundary=b"}, b"--b--", "missing_required_parameter"),
        ({"content-type": "multipart/form-data; boundary=b; charset=undefined"}, FIELD, "invalid_form"),
        ({"content-type": "multipart/form-data"}, b"{}", "invalid_form"),
        ({"content-type": "multipart/form-data; boundary=b"}, b"nonsense", "invalid_form"),
        ({"content-type": "multipart/form-data; boundary=b"}, b"--b--", "missing_required_parameter"),
    ],
)
async def test_another_body_than_a_form_is_refused(
    headers: dict[str, str], body: bytes, code: str, hearing_gateway: Gateway
) -> None:
    response = await hearing_gateway.http.post(TRANSCRIPTIONS, content=body, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)
