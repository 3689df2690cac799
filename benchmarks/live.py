"""Live speech, paced as it is spoken: when text comes, how far it lags, and when the last word is there."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from benchmarks.errors import BenchmarkError
from benchmarks.report import Row, spread
from benchmarks.spawn import spawned
from cli.ports import pick_ports
from services.speech.audio import AudioFormat, read_clip

CHUNK_S = 0.1
START_TIMEOUT_S = 120.0
MAX_CLIP_S = 60.0


@dataclass(frozen=True)
class Voice:
    """A clip as raw 16-bit mono."""

    pcm: bytes
    rate: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.pcm) / 2 / self.rate


@dataclass
class Heard:
    """What one listener saw; times in seconds."""

    first_update_s: float | None = None
    """From the beginning of speech to the first text."""
    lags_s: list[float] = field(default_factory=list)
    """From the sending of the audio that a text accounts for to the text."""
    final_s: float = 0.0
    """From the half-close to the end."""


async def measure(target: str, clips: Sequence[Path], streams: Sequence[int]) -> list[Row]:
    """One row for each number of streams that speak at once."""
    voices = [_voice(path) for path in clips]
    async with grpc.aio.insecure_channel(target) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        await asyncio.wait_for(channel.channel_ready(), START_TIMEOUT_S)
        await _listen(stub, voices[0], 0.0)
        return [_row(count, await _all(stub, voices, count)) for count in streams]


@contextmanager
def speech_service(model: Path | None) -> Iterator[str]:
    """A speech service of our own for the length of a block: its address."""
    [port] = pick_ports([0])
    environment = {
        "AUTOGLM_SPEECH__PORT": str(port),
        "AUTOGLM_SPEECH__HEALTH_PORT": "0",
        "AUTOGLM_SPEECH__METRICS_PORT": "null",
        **({"AUTOGLM_SPEECH__MODEL": str(model)} if model else {}),
    }
    with spawned([sys.executable, "-m", "services.speech"], environment) as service:
        service.wait_until(lambda: b"ready" in service.log.read_bytes(), START_TIMEOUT_S)
        yield f"127.0.0.1:{port}"


async def _all(
    stub: "speech_pb2_grpc.SpeechServiceAsyncStub", voices: Sequence[Voice], count: int
) -> list[Heard]:
    """Listeners that begin spread over one chunk, as strangers would."""
    chosen = itertools.islice(itertools.cycle(voices), count)
    return await asyncio.gather(
        *(_listen(stub, voice, CHUNK_S * place / count) for place, voice in enumerate(chosen))
    )


async def _listen(stub: "speech_pb2_grpc.SpeechServiceAsyncStub", voice: Voice, delay_s: float) -> Heard:
    heard, began, closed = Heard(), time.monotonic() + delay_s, 0.0

    async def speech() -> AsyncIterator[speech_pb2.StreamTranscribeRequest]:
        nonlocal closed
        layout = speech_pb2.AudioFormat(
            encoding=speech_pb2.AUDIO_ENCODING_PCM_S16LE, sample_rate_hertz=voice.rate
        )
        yield speech_pb2.StreamTranscribeRequest(config=speech_pb2.StreamTranscribeConfig(format=layout))
        width = round(CHUNK_S * voice.rate) * 2
        for place in range(0, len(voice.pcm), width):
            spoken_s = min(len(voice.pcm), place + width) / 2 / voice.rate
            await asyncio.sleep(began + spoken_s - time.monotonic())
            yield speech_pb2.StreamTranscribeRequest(audio=voice.pcm[place : place + width])
        closed = time.monotonic()

    speech_began_s = 0.0
    async for response in stub.StreamTranscribe(speech()):
        now = time.monotonic() - began
        if response.speech_event.type == speech_pb2.SPEECH_EVENT_TYPE_SPEECH_BEGIN:
            speech_began_s = response.speech_event.offset.ToNanoseconds() / 1e9
        if response.result.text:
            heard.lags_s.append(now - response.audio_processed.ToNanoseconds() / 1e9)
            if heard.first_update_s is None:
                heard.first_update_s = now - speech_began_s
    heard.final_s = time.monotonic() - closed
    return heard


def _row(count: int, listeners: Sequence[Heard]) -> Row:
    firsts = [one.first_update_s for one in listeners if one.first_update_s is not None]
    lags = [lag for one in listeners for lag in one.lags_s]
    if not firsts:
        raise BenchmarkError("Nothing was heard in these clips.")
    measured = {"first_update": firsts, "lag": lags, "final": [one.final_s for one in listeners]}
    row: Row = {"streams": count, "updates": len(lags)}
    for name, values in measured.items():
        row |= {f"{name}_{point}_s": value for point, value in spread(values).items()}
    return row


def _voice(path: Path) -> Voice:
    clip = read_clip(path.read_bytes(), AudioFormat(), max_seconds=MAX_CLIP_S)
    return Voice(np.rint(np.clip(clip.samples, -1, 1) * 32_767).astype("<i2").tobytes(), clip.rate)
