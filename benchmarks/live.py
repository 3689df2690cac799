"""Live speech, paced as it is spoken: when text comes, how far it lags, and when the last word is there.

And how much of the machine it takes: on a shared one lags tell of the neighbours as well, cores do not.
"""

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
from benchmarks.processes import cpu_seconds
from benchmarks.report import Row, spread
from benchmarks.spawn import spawned
from cli.ports import HeldPorts
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
    delays_s: list[float] = field(default_factory=list)
    """From the end of each character to the first text that is long enough to hold it."""
    final_s: float = 0.0
    """From the half-close to the end."""


class Delays:
    """When each character of an utterance appears, told once the final text says when it was spoken."""

    def __init__(self) -> None:
        self._appeared_s: dict[int, list[float]] = {}

    def note(self, result: speech_pb2.StreamTranscribeResult, now_s: float) -> list[float]:
        """Takes in a text; the delays of its characters, if it is final."""
        appeared_s = self._appeared_s.setdefault(result.utterance_index, [])
        appeared_s += [now_s] * (len(result.text) - len(appeared_s))
        ends_s = [own.end_offset.ToNanoseconds() / 1e9 for own in result.segment.characters]
        return [now_s - end_s for now_s, end_s in zip(appeared_s, ends_s, strict=False)]


@dataclass(frozen=True)
class Service:
    """Where a speech service listens, and its process, where it is one of ours."""

    address: str
    pid: int | None = None


async def measure(service: Service, clips: Sequence[Path], streams: Sequence[int]) -> list[Row]:
    """One row for each number of streams that speak at once."""
    voices = [_voice(path) for path in clips]
    async with grpc.aio.insecure_channel(service.address) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        await asyncio.wait_for(channel.channel_ready(), START_TIMEOUT_S)
        await _listen(stub, voices[0], 0.0)
        return [await _measure(stub, service, voices, count) for count in streams]


@contextmanager
def speech_service(model: Path | None) -> Iterator[Service]:
    """A speech service of our own for the length of a block."""
    with HeldPorts() as held:
        [port] = held.pick([0])
        environment = {
            "AUTOGLM_SPEECH__PORT": str(port),
            "AUTOGLM_SPEECH__HEALTH_PORT": "0",
            "AUTOGLM_SPEECH__METRICS_PORT": "null",
            **({"AUTOGLM_SPEECH__MODEL": str(model)} if model else {}),
        }
        with spawned([sys.executable, "-m", "services.speech"], environment) as service:
            service.wait_until(lambda: b"ready" in service.log.read_bytes(), START_TIMEOUT_S)
            yield Service(f"127.0.0.1:{port}", service.process.pid)


async def _measure(
    stub: "speech_pb2_grpc.SpeechServiceAsyncStub", service: Service, voices: Sequence[Voice], count: int
) -> Row:
    began, spent = time.monotonic(), cpu_seconds(service.pid) if service.pid else 0.0
    row = _row(count, await _all(stub, voices, count))
    if service.pid:
        row["cores"] = round((cpu_seconds(service.pid) - spent) / (time.monotonic() - began), 2)
    return row


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

    speech_began_s, delays = 0.0, Delays()
    async for response in stub.StreamTranscribe(speech()):
        now = time.monotonic() - began
        if response.speech_event.type == speech_pb2.SPEECH_EVENT_TYPE_SPEECH_BEGIN:
            speech_began_s = response.speech_event.offset.ToNanoseconds() / 1e9
        if response.result.text:
            heard.lags_s.append(now - response.audio_processed.ToNanoseconds() / 1e9)
            if heard.first_update_s is None:
                heard.first_update_s = now - speech_began_s
            heard.delays_s += delays.note(response.result, now)
    heard.final_s = time.monotonic() - closed
    return heard


def _row(count: int, listeners: Sequence[Heard]) -> Row:
    firsts = [one.first_update_s for one in listeners if one.first_update_s is not None]
    lags = [lag for one in listeners for lag in one.lags_s]
    if not firsts:
        raise BenchmarkError("Nothing was heard in these clips.")
    measured = {
        "first_update": firsts,
        "character": [delay for one in listeners for delay in one.delays_s],
        "lag": lags,
        "final": [one.final_s for one in listeners],
    }
    row: Row = {"streams": count, "updates": len(lags)}
    for name, values in measured.items():
        row |= {f"{name}_{point}_s": value for point, value in spread(values).items()}
    return row


def _voice(path: Path) -> Voice:
    clip = read_clip(path.read_bytes(), AudioFormat(), max_seconds=MAX_CLIP_S)
    return Voice(np.rint(np.clip(clip.samples, -1, 1) * 32_767).astype("<i2").tobytes(), clip.rate)
