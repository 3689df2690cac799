"""One child process: its process group, its output, its end."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.log import MergedLog

TETHER = Path(__file__).with_name("tether.py")
LAST_LINES = 12
LINE_BYTES = 64 * 1024  # a longer line is shown in pieces
OUTPUT_GRACE_S = 1.0
POLL_S = 0.1
PYTHON = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


@dataclass(frozen=True)
class Program:
    """What to run, and how to tell that it is ready."""

    name: str
    command: Sequence[str]
    ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_timeout_s: float = 600.0
    stop_timeout_s: float = 20.0


class Child:
    """A running program. Leaving the context ends it and everything it started."""

    def __init__(self, program: Program, log: MergedLog) -> None:
        self.program = program
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._log = log

    async def __aenter__(self) -> Self:
        launcher = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid())]
        self._process = await asyncio.create_subprocess_exec(
            *launcher,
            *self.program.command,
            env={**os.environ, **PYTHON, **self.program.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_BYTES,
            start_new_session=True,
        )
        self.exited = asyncio.create_task(self._reap())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()
        grace_s = self.program.stop_timeout_s
        done, _ = await asyncio.wait({self.exited}, timeout=grace_s)
        if not done:
            self._log.write(self.program.name, f"did not stop within {grace_s:g} s; killed")
            self.kill()
            await self.exited

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its process group."""
        return self._process.pid

    def kill(self) -> None:
        """Ends the whole process group at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def ending(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with code {code}"

    async def _reap(self) -> int:
        output = asyncio.create_task(self._copy_output())
        # Not `wait()`: that one goes on until everybody has closed the pipe, the program's own children too.
        while (code := self._process.returncode) is None:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        self.kill()  # whatever it started must not outlive it
        await asyncio.wait({output}, timeout=OUTPUT_GRACE_S)
        output.cancel()
        return code

    async def _copy_output(self) -> None:
        async for line in self._lines():
            self.last_lines.append(line)
            self._log.write(self.program.name, line)

    async def _lines(self) -> AsyncIterator[str]:
        stream = self._process.stdout
        while stream is not None:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.LimitOverrunError as overrun:
                line = await stream.readexactly(overrun.consumed)
            except asyncio.IncompleteReadError as end:
                if end.partial:
                    yield end.partial.decode(errors="replace")
                return
            yield line.decode(errors="replace").rstrip("\r\n")
