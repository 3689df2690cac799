"""Starts programs together, restarts those that die, stops them in order."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from cli.child import Child, Program
from cli.log import MergedLog

NAME = "autoglm"  # the supervisor's own lines in the log
POLL_S = 0.1


@dataclass(frozen=True)
class Backoff:
    """Pauses between restarts: doubled each time, back to the first after a steady run."""

    first_s: float = 0.5
    longest_s: float = 30.0
    steady_s: float = 60.0

    def after(self, last_pause_s: float, lived_s: float) -> float:
        """The next pause, given the one before (0: there was none) and how long the program lived since."""
        if last_pause_s == 0 or lived_s >= self.steady_s:
            return self.first_s
        return min(2 * last_pause_s, self.longest_s)


class StartError(Exception):
    """A program did not become ready; the message says why."""


class Supervisor:
    """Keeps tiers of programs running, from the ones others lean on up to the one that faces clients."""

    def __init__(
        self, tiers: Sequence[Sequence[Program]], log: MergedLog, backoff: Backoff | None = None
    ) -> None:
        self._tiers = tiers
        self._log = log
        self._backoff = backoff or Backoff()
        self._ready = {program.name: asyncio.Event() for tier in tiers for program in tier}
        self._children: dict[str, Child] = {}
        self._killed = False

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], Awaitable[None]]) -> None:
        """Runs everything until `stop` is set; raises StartError when the first start fails."""
        keepers = [[asyncio.create_task(self._keep(program)) for program in tier] for tier in self._tiers]
        boot = asyncio.create_task(self._boot(on_ready))
        stopped = asyncio.create_task(stop.wait())
        watched = {stopped, boot, *chain.from_iterable(keepers)}
        try:
            while not stopped.done():
                done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            boot.cancel()
            stopped.cancel()
            for tier in reversed(keepers):
                for keeper in tier:
                    keeper.cancel()
                await asyncio.gather(*tier, return_exceptions=True)

    def pid(self, name: str) -> int:
        """Process id of the running program of that name."""
        return self._children[name].pid

    def kill(self) -> None:
        """Ends every child at once, without a drain; none is started again."""
        self._killed = True
        for child in self._children.values():
            child.kill()

    async def _boot(self, on_ready: Callable[[], Awaitable[None]]) -> None:
        for ready in self._ready.values():
            await ready.wait()
        await on_ready()

    async def _keep(self, program: Program) -> None:
        pause_s = 0.0
        while True:
            started = time.monotonic()
            async with Child(program, self._log) as child:
                self._children[program.name] = child
                trouble = await self._until_ready(child)
                if trouble is None:
                    self._log.write(NAME, f"{program.name} is ready after {time.monotonic() - started:.1f} s")
                    self._ready[program.name].set()
                    await asyncio.wait({child.exited})
                    trouble = child.ending()
            if self._killed:
                return
            if not self._ready[program.name].is_set():
                last_lines = "\n".join(f"    {line}" for line in child.last_lines)
                raise StartError(
                    f"{program.name} {trouble} before it was ready. Its last lines:\n{last_lines}"
                )
            pause_s = self._backoff.after(pause_s, time.monotonic() - started)
            self._log.write(NAME, f"{program.name} {trouble}; starting it again in {pause_s:.1f} s")
            await asyncio.sleep(pause_s)

    async def _until_ready(self, child: Child) -> str | None:
        """Waits for readiness; says what went wrong instead."""
        deadline = time.monotonic() + child.program.ready_timeout_s
        while not await child.program.ready():
            await asyncio.wait({child.exited}, timeout=POLL_S)
            if child.exited.done():
                return child.ending()
            if time.monotonic() > deadline:
                return f"was still not ready after {child.program.ready_timeout_s:.0f} s"
        return None
