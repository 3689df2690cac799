"""Processes started one by one, without a supervisor: two of a kind, or one in a bad place."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cli.bundle import REPOSITORY
from cli.ports import LOOPBACK, pick_ports
from cli.probes import grpc_serving, http_ok
from cli.topology import GATEWAY, SERVICES

READY_S = 60.0
STOP_S = 40.0
POLL_S = 0.1
PORTS = ("port", "health_port", "metrics_port")


@dataclass
class Replica:
    """One process of a kind, on ports of its own that outlive it."""

    kind: str
    settings: Mapping[str, object]
    log: Path = Path(os.devnull)
    ports: dict[str, int] = field(default_factory=dict)
    process: Process | None = None

    def __post_init__(self) -> None:
        keys = PORTS[:1] if self.kind == GATEWAY else PORTS
        self.ports = dict(zip(keys, pick_ports([0] * len(keys)), strict=True))

    @property
    def pid(self) -> int:
        if self.process is None:
            raise RuntimeError(f"{self.kind} has not been started")
        return self.process.pid

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.ports['port']}"

    @property
    def health(self) -> str:
        return f"{LOOPBACK}:{self.ports['health_port']}"

    async def start(self) -> None:
        """Returns when it is ready; TimeoutError when that takes too long."""
        values = {**self.settings, **self.ports}
        environment = {f"AUTOGLM_{self.kind}__{key}".upper(): str(value) for key, value in values.items()}
        module = self.kind if self.kind == GATEWAY else f"services.{self.kind}"
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module),
                cwd=REPOSITORY,
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(READY_S):
            while not await self._is_ready():
                await asyncio.sleep(POLL_S)

    async def stop(self) -> int:
        """Asks it to end, waits until it has, and returns its exit code."""
        if self.process is None:
            return 0
        if self.process.returncode is None:
            self.process.terminate()
        async with asyncio.timeout(STOP_S):
            return await self.process.wait()

    async def _is_ready(self) -> bool:
        if self.kind == GATEWAY:
            return await http_ok(LOOPBACK, self.ports["port"], "/health/ready")
        return await grpc_serving(self.health, SERVICES[self.kind])


@asynccontextmanager
async def started(*replicas: Replica) -> AsyncIterator[None]:
    """Starts them one after the other, and stops in the opposite order whatever runs then."""
    try:
        for replica in replicas:
            await replica.start()
        yield
    finally:
        for replica in reversed(replicas):
            await replica.stop()
