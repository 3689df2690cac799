"""Starts the whole server, asks about two photos and follows up, shows what happened, and stops it again."""

import asyncio
import io
import os
import sys
import time
from pathlib import Path
from typing import Any

from cli.bundle import BundleError, display_name
from cli.client import Gateway, GatewayError, Message, user_message
from cli.log import MergedLog
from cli.supervisor import NAME, StartError, Supervisor
from cli.topology import Options, Topology, plan
from servicekit.settings import SettingsError

PHOTOS = Path(__file__).parent / "photos"
Question = tuple[str, Path | None]
CONVERSATIONS: list[list[Question]] = [
    [("描述这张图片。", PHOTOS / "bananas.jpg")],
    [("描述这张图片。", PHOTOS / "tomatoes.jpg"), ("它是什么颜色的？", None)],
]
STAGES = ("tokenize", "media", "queue", "first_token", "total")


async def main() -> int:
    """The demo's exit code: 0 when every question was answered."""
    started = time.monotonic()
    stop = asyncio.Event()

    async def on_ready() -> None:
        print(f"Ready after {time.monotonic() - started:.1f} s.\n")
        await asyncio.to_thread(converse_all, topology)
        stop.set()

    try:
        topology = plan(Options(port=0))
        print(f"Starting {display_name(topology.model)} ...", flush=True)
        log = MergedLog([NAME, *topology.names], io.StringIO())  # kept quiet; an error quotes what matters
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
    for text, photo in questions:
        messages.append(user_message(text, [photo] if photo else []))
        sent = time.monotonic()
        completion = gateway.answer(messages)
        seconds = time.monotonic() - sent
        answer = completion["choices"][0]["message"]["content"]
        messages.append({"role": "assistant", "content": answer})
        print(f"> {text}" + (f"  [{os.path.relpath(photo)}]" if photo else ""))
        print(f"  {answer}")
        report(completion, seconds)


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
            f"  picture  {source}, {medium['token_count']} tokens; "
            f"{medium['sent_bytes']} bytes down, {medium['received_bytes']} up; "
            f"{medium['elapsed_ms']:.0f} ms, forward {medium['forward_ms']:.0f}"
        )
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    print(f"  tokens   {usage['prompt_tokens']} in ({cached} cached), {usage['completion_tokens']} out")
    stages = ", ".join(f"{name} {receipt[f'{name}_ms']:.0f}" for name in STAGES)
    print(f"  time     {seconds:.2f} s; in the llm service, ms: {stages}; {receipt['steps']} steps\n")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
