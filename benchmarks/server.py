"""A server of our own: `autoglm serve` on free ports."""

import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import Memory, children, memory
from benchmarks.spawn import Spawned, spawned
from cli.ports import LOOPBACK, HeldPorts

AUTOGLM = Path(sys.executable).with_name("autoglm")
SERVICES = ("vision", "speech", "llm")
PORTS = ("port", "health_port", "metrics_port")
READY = b"| Ready."
START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Server:
    """A running `autoglm serve`; `ready_s` is the time from its start to the ready line."""

    spawned: Spawned
    url: str
    ports: Mapping[str, Mapping[str, int]]
    ready_s: float

    @property
    def log(self) -> Path:
        """What all its processes print."""
        return self.spawned.log

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each part that is running, by name."""
        found = children(self.spawned.process.pid)
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
        samples = (sample for family in self._page(service) for sample in family.samples)
        return {sample.name: float(sample.value) for sample in samples}[name]

    def phases(self) -> dict[str, float]:
        """Seconds of each phase of a start, as far as the services tell them; they start side by side."""
        return {
            f"{service}: {sample.labels['phase']}": float(sample.value)
            for service in self.pids.keys() & set(SERVICES)
            for family in self._page(service)
            for sample in family.samples
            if sample.name == f"autoglm_{service}_start_seconds"
        }

    def _page(self, service: str) -> list[Metric]:
        page = f"http://{LOOPBACK}:{self.ports[service]['metrics_port']}/metrics"
        with urllib.request.urlopen(page, timeout=5) as response:
            return list(text_string_to_metric_families(response.read().decode()))


@contextmanager
def serving(
    model: Path | str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Iterator[Server]:
    """Starts a server, waits until it is ready, and stops it in the end. Raises BenchmarkError."""
    with HeldPorts() as held:
        gateway_port, *free = held.pick([0] * (1 + len(SERVICES) * len(PORTS)))
        ports = {service: dict(zip(PORTS, free[3 * i :], strict=False)) for i, service in enumerate(SERVICES)}
        variables = {
            f"AUTOGLM_{service}__{key}".upper(): str(port)
            for service, own in ports.items()
            for key, port in own.items()
        }
        command = [str(AUTOGLM), "serve", "--port", str(gateway_port)]
        command += ["--model", str(model)] if model else []
        with spawned(command, {**variables, **(environment or {})}) as process:
            ready_s = process.wait_until(lambda: READY in process.log.read_bytes(), timeout_s)
            yield Server(process, f"http://{LOOPBACK}:{gateway_port}", ports, ready_s)
