"""`autoglm serve`: everything up, watched, and down again."""

import asyncio
import json
import signal
import time

from cli.bundle import display_name
from cli.log import MergedLog
from cli.placement import placements
from cli.supervisor import NAME, Supervisor
from cli.topology import Topology


async def serve(topology: Topology) -> None:
    """Runs until SIGINT or SIGTERM; a second one skips the drain. Raises StartError."""
    started = time.monotonic()
    log = MergedLog([NAME, *topology.names])
    supervisor = Supervisor(topology.tiers, log)
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            log.write(NAME, "Asked twice: killing what is left.")
            supervisor.kill()
        else:
            log.write(NAME, "Stopping. Once more to skip the drain.")
            stop.set()

    async def on_ready() -> None:
        for line in await placements(topology.targets, topology.tls):
            log.write(NAME, line)
        log.write(NAME, f"Loaded in {time.monotonic() - started:.1f} s")
        log.write(NAME, f"FastAPI server running at {topology.url}")
        log.write(NAME, "OpenAI-compatible API available at /v1/chat/completions")
        log.write(NAME, "Ready. Try it from another terminal:")
        log.show(f"\n{curl(topology)}\n")

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup's word stands; that a shell ignores SIGINT for what it starts with `&` does not.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, on_signal)
    log.write(NAME, f"Loading {display_name(topology.model)} model from {topology.model}")
    await supervisor.run(stop, on_ready)
    log.write(NAME, "Stopped.")


def curl(topology: Topology) -> str:
    """A first question that can be pasted into a shell."""
    body = {"model": topology.model.name, "messages": [{"role": "user", "content": "你好"}]}
    key = '-H "Authorization: Bearer $AUTOGLM_API_KEY" ' if topology.needs_key else ""
    return (
        f"curl {topology.url}/v1/chat/completions -H 'Content-Type: application/json' {key}"
        f"-d '{json.dumps(body, ensure_ascii=False)}'"
    )
