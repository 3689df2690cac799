"""Starts the whole server, asks about photos in writing and aloud, shows what happened, stops it again."""

import asyncio
import io
import os
import sys
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio

from autoglm.speech.v1 import speech_pb2, speech_pb2_grpc
from cli.bundle import BundleError, display_name
from cli.client import Gateway, GatewayError, Message, audio_part, image_part, user_message
from cli.log import MergedLog
from cli.ports import HeldPorts
from cli.supervisor import NAME, StartError, Supervisor
from cli.topology import Options, Topology, plan
from servicekit.channel import open_channel
from servicekit.settings import SettingsError

PHOTOS = Path(__file__).parent / "photos"
QUESTION = Path(__file__).parent / "speech" / "question.wav"
Question = tuple[str, list[Path]]
CONVERSATIONS: list[list[Question]] = [
    [("描述这张图片。", [PHOTOS / "bananas.jpg"])],
    [("描述这张图片。", [PHOTOS / "tomatoes.jpg"]), ("它是什么颜色的？", [])],
    [("", [PHOTOS / "bananas.jpg", QUESTION])],
]
NAMES = {"MODALITY_IMAGE": "picture", "MODALITY_AUDIO": "speech"}
PIECE_S = 0.1
STREAM_TIMEOUT_S = 60.0
STAGES = ("tokenize", "media", "queue", "first_token", "total")


async def main() -> int:
    """The demo's exit code: 0 when every question was answered."""
    started = time.monotonic()
    stop = asyncio.Event()

    async def on_ready() -> None:
        print(f"Ready after {time.monotonic() - started:.1f} s.\n")
        await asyncio.to_thread(converse_all, topology)
        await dictate(topology)
        stop.set()

    try:
        with HeldPorts() as held:
            topology = plan(Options(port=0), held)
            print(f"Starting {display_name(topology.model)} ...", flush=True)
            log = MergedLog([NAME, *topology.names], io.StringIO())  # quiet; an error quotes what matters
            await Supervisor(topology.tiers, log).run(stop, on_ready)
    except (BundleError, SettingsError, StartError, GatewayError) as error:
        print(error, file=sys.stderr)
        return 1
    print("Stopped.")
    return 0


def converse_all(topology: Topology) -> None:
    """All conversations, one after the other."""
    with Gateway(topology.url) as gateway:
        for questions in CONVERSATIONS:
            converse(gateway, questions)


def converse(gateway: Gateway, questions: list[Question]) -> None:
    """One conversation: each question with all that was said before."""
    messages: list[Message] = []
    for text, files in questions:
        messages.append(asked(text, files))
        sent = time.monotonic()
        completion = gateway.answer(messages)
        seconds = time.monotonic() - sent
        answer = completion["choices"][0]["message"]["content"]
        messages.append({"role": "assistant", "content": answer})
        print("  ".join([">", *filter(None, [text]), *(f"[{shown_path(file)}]" for file in files)]))
        print(f"  {answer}")
        report(completion, seconds)


def asked(text: str, files: list[Path]) -> Message:
    """A user message: in writing about pictures, or with a recording."""
    if text:
        return user_message(text, files)
    parts = [audio_part(file) if file.suffix == ".wav" else image_part(file) for file in files]
    return {"role": "user", "content": parts}


def shown_path(file: Path) -> str:
    """As one would type it here."""
    return os.path.relpath(file)


def report(completion: dict[str, Any], seconds: float) -> None:
    """Gate weights, receipt and timings of one answer."""
    extension, usage = completion["autoglm"], completion["usage"]
    receipt = extension["receipt"]
    for gate in extension["gate_weights"]:
        weights = ", ".join(f"{name} {gate[name]:.3f}" for name in ("text", "image", "audio"))
        print(f"  gate     message {gate['message_index']}: {weights}")
    for medium in receipt["media"]:
        source = medium["source"].removeprefix("MEDIA_SOURCE_").lower().replace("_", " ")
        print(
            f"  {NAMES[medium['modality']]:<8} {source}, {medium['token_count']} tokens; "
            f"{medium['sent_bytes']} bytes down, {medium['received_bytes']} up; "
            f"{medium['elapsed_ms']:.0f} ms, forward {medium['forward_ms']:.0f}"
        )
        if medium["transcript"]:
            print(f"  heard    {medium['transcript']}")
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    print(f"  tokens   {usage['prompt_tokens']} in ({cached} cached), {usage['completion_tokens']} out")
    stages = ", ".join(f"{name} {receipt[f'{name}_ms']:.0f}" for name in STAGES)
    print(f"  time     {seconds:.2f} s; in the llm service, ms: {stages}; {receipt['steps']} steps\n")


async def dictate(topology: Topology) -> None:
    """Speaks into a live stream, and shows what is understood as it comes."""
    print(f">  live: [{shown_path(QUESTION)}]")
    shown = ""
    async with open_channel(topology.targets["speech"], tls=topology.tls) as channel:
        speech = speech_pb2_grpc.SpeechServiceStub(channel)
        try:
            async for response in speech.StreamTranscribe(speak(QUESTION), timeout=STREAM_TIMEOUT_S):
                result = response.result
                if response.HasField("result") and (result.text != shown or result.is_final):
                    shown = result.text
                    heard_s = response.audio_processed.ToMilliseconds() / 1e3
                    print(f"  {heard_s:.1f} s    {shown}{'  (final)' * result.is_final}", flush=True)
        except grpc.aio.AioRpcError as error:
            raise GatewayError(f"The live stream broke off: {error.details()}") from error
    print()


async def speak(recording: Path) -> AsyncIterator[speech_pb2.StreamTranscribeRequest]:
    """A WAV file as a microphone would send it."""
    with wave.open(str(recording)) as clip:
        form = speech_pb2.AudioFormat(
            encoding=speech_pb2.AUDIO_ENCODING_PCM_S16LE,
            sample_rate_hertz=clip.getframerate(),
            channel_count=clip.getnchannels(),
        )
        yield speech_pb2.StreamTranscribeRequest(config=speech_pb2.StreamTranscribeConfig(format=form))
        while samples := clip.readframes(int(PIECE_S * clip.getframerate())):
            yield speech_pb2.StreamTranscribeRequest(audio=samples)
            await asyncio.sleep(PIECE_S)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
