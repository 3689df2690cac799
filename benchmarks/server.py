"""A server of our own: `autoglm serve` on free ports."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.errors import BenchmarkError
from benchmarks.processes import Memory, children, memory
from cli.ports import LOOPBACK, pick_ports

AUTOGLM = Path(sys.executable).with_name("autoglm")
SERVICES = ("vision", "speech", "llm")
PORTS = ("port", "health_port", "metrics_port")
READY = b"| Ready."
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 40.0
POLL_S = 0.02


@dataclass
class Server:
    """A running `autoglm serve`; `ready_s` is the time from its start to the ready line."""

    process: subprocess.Popen[bytes]
    url: str
    ports: Mapping[str, Mapping[str, int]]
    log: Path
    ready_s: float = 0.0

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each part that is running, by name."""
        found = children(self.process.pid)
        return {command[-1].removeprefix("services."): pid for pid, command in found.items()}

    @property
    def memory(self) -> dict[str, Memory]:
        """Memory of each part, by name."""
        return {name: memory(pid) for name, pid in self.pids.items()}

    def target(self, service: str) -> str:
        """Where a service answers gRPC."""
        return f"{LOOPBACK}:{self.ports[service]['port']}"

    def metric(self, service: str, name: str) -> float:
        """A sample of a service's Prometheus page; KeyError when it has no such sample."""
        page = f"http://{LOOPBACK}:{self.ports[service]['metrics_port']}/metrics"
        with urllib.request.urlopen(page, timeout=5) as response:
            text = response.read().decode()
        samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
        return {sample.name: float(sample.value) for sample in samples}[name]

    def wait_until_ready(self) -> None:
        """Raises BenchmarkError with the log when it ends before, or takes too long."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while READY not in (log := self.log.read_bytes()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"The server did not start:\n{log.decode(errors='replace')}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """What Ctrl-C does; kills what does not listen."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends the supervisor without a word."""
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(model: Path | None = None, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Starts a server, waits until it is ready, and stops it in the end. Raises BenchmarkError."""
    gateway_port, *free = pick_ports([0] * (1 + len(SERVICES) * len(PORTS)))
    ports = {service: dict(zip(PORTS, free[3 * i :], strict=False)) for i, service in enumerate(SERVICES)}
    variables = {
        f"AUTOGLM_{service}__{key}".upper(): str(port)
        for service, own in ports.items()
        for key, port in own.items()
    }
    command = [str(AUTOGLM), "serve", "--port", str(gateway_port)]
    command += ["--model", str(model)] if model else []
    with tempfile.NamedTemporaryFile() as log:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            env={**os.environ, **variables, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C here must not reach it twice
        )
        server = Server(process, f"http://{LOOPBACK}:{gateway_port}", ports, Path(log.name))
        try:
            server.wait_until_ready()
            server.ready_s = time.monotonic() - started
            yield server
        finally:
            if process.poll() is None:
                server.stop()
