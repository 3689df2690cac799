"""Asks a spoken question, about a picture if there is one, and prints what is heard and answered as it comes.

It needs the openai package with websockets; nothing of this repository. The recording is a WAV file (16-bit,
mono, 24 kHz), sent at the pace of speech. `--transcribe` only writes down what is said.
"""

import argparse
import asyncio
import base64
import io
import mimetypes
import sys
import wave
from pathlib import Path
from typing import Any

import openai

RATE = 24_000
PIECE_S = 0.1
TAIL_S = 1.5  # of silence, so that the server notices that the question is over


async def main(arguments: argparse.Namespace) -> int:
    """The example's exit code: 0 when the question was heard and, unless only written down, answered."""
    samples = read_wav(arguments.recording)
    direct: Any = {"proxy": None}
    async with openai.AsyncOpenAI(base_url=f"{arguments.url}/v1", api_key=arguments.api_key) as client:
        mode: Any = {"extra_query": {"intent": "transcription"}} if arguments.transcribe else {}
        async with client.realtime.connect(**mode, websocket_connection_options=direct) as connection:
            await connection.session.update(session=session(arguments.transcribe))
            if arguments.picture:
                await connection.conversation.item.create(item=shown(arguments.picture))
            speaking = asyncio.create_task(speak(connection, samples))
            try:
                return await listen(connection, arguments.transcribe)
            finally:
                speaking.cancel()


def session(transcribe: bool) -> Any:
    """What the session should do: write down, or answer in text."""
    transcription = {"audio": {"input": {"transcription": {"model": "whisper-1", "language": "zh"}}}}
    if transcribe:
        return {"type": "transcription", **transcription}
    return {"type": "realtime", "output_modalities": ["text"], **transcription}


def shown(picture: Path) -> Any:
    """A picture as an item of the conversation; the spoken question that follows is about it."""
    kind = mimetypes.guess_type(picture.name)[0] or "image/png"
    url = f"data:{kind};base64,{base64.b64encode(picture.read_bytes()).decode()}"
    return {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": url}]}


async def speak(connection: Any, samples: bytes) -> None:
    """Sends the recording as a microphone would."""
    size = 2 * int(PIECE_S * RATE)
    samples += bytes(2 * int(TAIL_S * RATE))
    for start in range(0, len(samples), size):
        piece = base64.b64encode(samples[start : start + size]).decode()
        await connection.input_audio_buffer.append(audio=piece)
        await asyncio.sleep(PIECE_S)


async def listen(connection: Any, transcribe: bool) -> int:
    """Prints what comes until the turn is written down, or answered."""
    async for event in connection:
        match event.type:
            case "input_audio_buffer.speech_started":
                print(f"[speech from {event.audio_start_ms} ms] ", end="", flush=True)
            case "conversation.item.input_audio_transcription.delta" | "response.output_text.delta":
                print(event.delta, end="", flush=True)
            case "conversation.item.input_audio_transcription.completed":
                print(f"\n> {event.transcript}")
                if transcribe:
                    return 0
            case "response.done":
                print(f"\n[{event.response.status}]")
                return int(event.response.status != "completed")
            case "error":
                print(f"\n{event.error.code}: {event.error.message}", file=sys.stderr)
                return 1
    return 1


def read_wav(path: Path) -> bytes:
    """Its samples; exits where the file is not as the API takes it."""
    with wave.open(io.BytesIO(path.read_bytes())) as clip:
        if (clip.getnchannels(), clip.getsampwidth(), clip.getframerate()) != (1, 2, RATE):
            sys.exit(f"{path} is not 16-bit mono at {RATE} Hz.")
        samples: bytes = clip.readframes(clip.getnframes())
        return samples


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--transcribe", action="store_true")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--api-key", default="EMPTY")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse_arguments())))
