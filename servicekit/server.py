"""The life of a service: boot, earned health, drain.

Health is served on a port of its own, in plaintext: readiness under the service's full name and the empty
name, and `liveness`. When told to stop, readiness falls first; new calls are taken for `lame_duck_seconds`
more, so that load balancers can notice; what runs is let finish within `drain_seconds`; then the process
exits 0.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from servicekit.checkpoint import CheckpointError
from servicekit.errors import ServiceError
from servicekit.exposure import check_exposure
from servicekit.interceptors import ServerInterceptor
from servicekit.settings import ServerSettings, SettingsError, TLSSettings, load_settings
from servicekit.telemetry import configure_logging, configure_tracing
from servicekit.tls import server_credentials

LIVENESS = "liveness"
WHOLE_PROCESS = ""  # what a probe asks about when it names no service
POLL_SECONDS = 1.0
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

log = structlog.get_logger("server")

S = TypeVar("S", bound=ServerSettings)


def _always() -> bool:
    return True


async def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Service:
    """What a process serves.

    name: full gRPC name. register: adds the servicer. warm_up: a real tiny pass, after which it is ready.
    close: after the drain. healthy: asked every second; False makes it not ready until it is True again.
    """

    name: str
    register: Callable[[grpc.aio.Server], None]
    warm_up: Callable[[], Awaitable[None]] = _nothing
    close: Callable[[], Awaitable[None]] = _nothing
    healthy: Callable[[], bool] = _always

    @property
    def domain(self) -> str:
        """Domain of its error reasons, such as `vision.autoglm`."""
        package = self.name.split(".")
        return f"{package[1]}.{package[0]}"


class RunningServer:
    """A service that answers, with its health beside it."""

    def __init__(self, service: Service, settings: ServerSettings):
        check_exposure(settings.host, insecure=settings.insecure, encrypted=settings.encrypted)
        self._service, self._settings = service, settings
        self._server = grpc.aio.server(
            interceptors=[ServerInterceptor(service.domain, settings.callers)],
            options=_options(settings),
            maximum_concurrent_rpcs=settings.max_concurrent_rpcs,
        )
        service.register(self._server)
        names = (service.name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self._health = health.aio.HealthServicer()
        self._health_server = grpc.aio.server(options=_options(settings))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._health_server)
        self._watch: asyncio.Task[None] | None = None
        self.port = self.health_port = 0

    @property
    def name(self) -> str:
        """Full gRPC name of what is served."""
        return self._service.name

    @classmethod
    async def start(cls, service: Service, settings: ServerSettings) -> Self:
        """Binds both ports, warms up, and is ready when it returns; leaves nothing behind when it fails."""
        server = cls(service, settings)
        try:
            await server.run_up()
        except BaseException:
            await server.stop(0)
            raise
        return server

    async def run_up(self) -> None:
        """Raises SettingsError when a port cannot be bound or a certificate not be used."""
        settings = self._settings
        self.port = _bind(self._server, settings.host, settings.port, settings.tls)
        health_port = _bind(self._health_server, settings.host, settings.health_port)
        await self._health.set(LIVENESS, SERVING)
        await self._set_ready(False)
        await self._health_server.start()
        self.health_port = health_port
        await self._server.start()
        await self._service.warm_up()
        await self._set_ready(True)
        self._watch = asyncio.create_task(self._watch_health())

    async def stop(self, grace: float | None = None) -> None:
        """Not ready, lame duck and drain within `grace` seconds, close, and only then not alive."""
        grace = self._settings.drain_seconds if grace is None else grace
        lame_duck = min(self._settings.lame_duck_seconds, grace)
        if self._watch:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        await self._set_ready(False)
        await asyncio.sleep(lame_duck)
        await self._server.stop(grace - lame_duck)
        try:
            await self._service.close()
        finally:
            await self._health_server.stop(0)

    async def _watch_health(self) -> None:
        ready = True
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self._is_healthy() is not ready:
                ready = not ready
                log.warning("health changed", ready=ready)
                await self._set_ready(ready)

    def _is_healthy(self) -> bool:
        try:
            return self._service.healthy()
        except Exception:
            log.exception("the service cannot tell how it is")
            return False

    async def _set_ready(self, ready: bool) -> None:
        for name in (self._service.name, WHOLE_PROCESS):
            await self._health.set(name, SERVING if ready else NOT_SERVING)


@asynccontextmanager
async def running(service: Service, settings: ServerSettings) -> AsyncIterator[RunningServer]:
    """A server for the length of a block; calls under way at its end are cut off."""
    server = await RunningServer.start(service, settings)
    try:
        yield server
    finally:
        await server.stop(grace=0)


def serve(name: str, kind: type[S], create: Callable[[S], Awaitable[Service]]) -> None:
    """Runs the service that section `name` of the settings describes until SIGTERM or SIGINT, then exits 0.

    What prevents the start is said in one line, and exits 1.
    """
    configure_logging()
    try:
        settings = load_settings(name, kind)
        configure_logging(settings.log_level)
        configure_tracing(f"autoglm-{name}")
        asyncio.run(_serve(partial(create, settings), settings))
    except SettingsError as error:
        log.error("cannot start", why=str(error))
        sys.exit(1)


async def _serve(create: Callable[[], Awaitable[Service]], settings: ServerSettings) -> None:
    check_exposure(settings.host, insecure=settings.insecure, encrypted=settings.encrypted)
    metrics_port = _serve_metrics(settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    starting = asyncio.create_task(_start(create, settings))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        server = starting.result()
        ports = {"port": server.port, "health_port": server.health_port, "metrics_port": metrics_port}
        log.info("ready", service=server.name, **ports)
        await stopping
        log.info("stopping", drain_seconds=settings.drain_seconds)
        await server.stop()
    else:
        starting.cancel()
        await asyncio.wait([starting])
    log.info("stopped")


async def _start(create: Callable[[], Awaitable[Service]], settings: ServerSettings) -> RunningServer:
    try:
        return await RunningServer.start(await create(), settings)
    except (CheckpointError, ServiceError) as error:
        raise SettingsError(str(error)) from error


def _serve_metrics(settings: ServerSettings) -> int | None:
    """The port where Prometheus finds the metrics, if it is to."""
    if settings.metrics_port is None:
        return None
    try:
        server, _ = start_http_server(settings.metrics_port, settings.host)
    except OSError as error:
        address = f"{settings.host}:{settings.metrics_port}"
        raise SettingsError(f"{address} cannot be bound; is the port taken?") from error
    return server.server_port


def _bind(server: grpc.aio.Server, host: str, port: int, tls: TLSSettings | None = None) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    credentials = server_credentials(tls) if tls else None
    try:
        if credentials:
            return server.add_secure_port(address, credentials)
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise SettingsError(f"{address} cannot be bound; is the port taken?") from error


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.so_reuseport", 0),
        # A window that grows with the line would take in minutes of a live stream before anybody hears them.
        ("grpc.http2.bdp_probe", 0),
        # Callers look around again from time to time, or a new replica would never hear of them.
        ("grpc.max_connection_age_ms", 300_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 0),
    ]
