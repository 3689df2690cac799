"""Starts a server as a process of its own, and stops it."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError

STOP_TIMEOUT_S = 40.0
POLL_S = 0.02


@dataclass(frozen=True)
class Spawned:
    """A running process, what it prints, and when it was started."""

    process: subprocess.Popen[bytes]
    log: Path
    started: float

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> float:
        """Seconds from the start until `ready`; raises BenchmarkError, with the log, when it never is."""
        while not ready():
            if self.process.poll() is not None or time.monotonic() - self.started > timeout_s:
                text = self.log.read_text(errors="replace")
                raise BenchmarkError(f"The server did not start:\n{text}")
            time.sleep(POLL_S)
        return time.monotonic() - self.started

    def stop(self) -> None:
        """What Ctrl-C does; kills what does not listen."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends it and what it started, without a word."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def spawned(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Spawned]:
    """Runs a command, with variables on top of ours, for the length of a block."""
    with tempfile.NamedTemporaryFile() as log:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C here must not reach it twice
        )
        running = Spawned(process, Path(log.name), started)
        try:
            yield running
        finally:
            running.stop()
