"""The processes of a server: their commands, ports, threads and probes."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ConfigDict

from cli.bundle import DEFAULT_MODEL, DUMMY, REPOSITORY, check_bundle
from cli.child import Program
from cli.ports import LOOPBACK, HeldPorts, is_free
from cli.probes import grpc_serving, http_ok
from servicekit.settings import (
    CONFIG_VARIABLE,
    DEFAULT_CONFIG,
    KeyPair,
    KeySettings,
    Settings,
    SettingsError,
    TLSSettings,
    load_settings,
)

SERVICES = {  # by their name in grpc.health
    "vision": "autoglm.vision.v1.VisionService",
    "speech": "autoglm.speech.v1.SpeechService",
    "llm": "autoglm.llm.v1.LLMService",
}
GATEWAY = "gateway"
STOP_MARGIN_S = 5.0  # on top of the drain, before a process is killed


class PortInUseError(Exception):
    """Somebody else listens on the gateway's port."""


class ProcessSettings(Settings):
    """What the supervisor must know of any process; each process checks its own section in full."""

    model_config = ConfigDict(extra="ignore")

    host: str = LOOPBACK
    port: int = 0
    health_port: int = 0
    metrics_port: int | None = 0
    model: Path = DEFAULT_MODEL
    num_threads: int = 0
    drain_seconds: float = 20.0
    https: KeyPair | None = None
    api_keys: KeySettings = KeySettings()
    tls: TLSSettings | None = None


@dataclass(frozen=True)
class Options:
    """What the command line decides; None leaves it to config.yaml and the environment."""

    config: Path | None = None
    model: Path | None = None
    dtype: str | None = None
    host: str | None = None
    port: int | None = None
    insecure: bool = False


@dataclass(frozen=True)
class Topology:
    """Programs from the bottom tier to the top one, and where they listen."""

    tiers: list[list[Program]]
    model: Path
    host: str
    port: int
    targets: dict[str, str]
    https: bool = False
    needs_key: bool = False
    tls: TLSSettings | None = None
    """How the gateway meets the services."""

    @property
    def names(self) -> list[str]:
        """Names of all programs."""
        return [program.name for tier in self.tiers for program in tier]

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the gateway."""
        host = _reachable(self.host)
        authority = f"[{host}]" if ":" in host else host
        return f"{'https' if self.https else 'http'}://{authority}:{self.port}"


def plan(options: Options, held: HeldPorts) -> Topology:
    """Settles ports, which `held` keeps until they are taken, and settings before anything starts.

    Raises SettingsError, BundleError or PortInUseError, so that a mistake is told once and at once.
    """
    config = _find_config(options.config)
    settings = {name: load_settings(name, ProcessSettings, config) for name in (*SERVICES, GATEWAY)}
    model = _find_model(options.model or settings["llm"].model)
    parts = check_bundle(model)
    host, https = options.host or settings[GATEWAY].host, settings[GATEWAY].https is not None
    port = _gateway_port(held, host, settings[GATEWAY].port if options.port is None else options.port)
    ports = _service_ports(held, {name: settings[name] for name in SERVICES})
    # A model without speech of its own is heard with the one that the settings name.
    own_speech = model if "speech" in parts else _find_model(settings["speech"].model)
    if (own_speech / "speech").is_dir():
        parts = (*parts, "speech")
    started = [name for name in SERVICES if name in parts]
    targets = {name: f"{LOOPBACK}:{ports[name]['port']}" for name in started}
    threads = share_threads(available_cores(), "vision" in started)

    def program(name: str, ready: Callable[[], Awaitable[bool]], **values: object) -> Program:
        environment = {
            f"AUTOGLM_{name.upper()}__{key.upper()}": "null" if value is None else str(value)
            for key, value in values.items()
        }
        own_threads = settings[name].num_threads or threads.get(name, 1)
        return Program(
            name,
            [sys.executable, "-P", "-m", name if name == GATEWAY else f"services.{name}"],
            ready,
            # Threads wait asleep: on shared cores, spinning ones keep those they wait for from running.
            {CONFIG_VARIABLE: str(config), "OMP_NUM_THREADS": str(own_threads), "OMP_WAIT_POLICY": "PASSIVE"}
            | environment,
            stop_timeout_s=settings[name].drain_seconds + STOP_MARGIN_S,
        )

    def service(name: str, **values: object) -> Program:
        target = f"{LOOPBACK}:{ports[name]['health_port']}"
        ready = partial(grpc_serving, target, SERVICES[name])
        values |= {"model": own_speech if name == "speech" else model}
        values |= {"dtype": options.dtype} if options.dtype else {}
        return program(name, ready, host=LOOPBACK, **ports[name], **values)

    health = {
        f"{name}_health_target": f"{LOOPBACK}:{ports[name]['health_port']}" if name in parts else ""
        for name in SERVICES
    }
    exposure = {"insecure": True} if options.insecure else {}
    gateway = program(
        GATEWAY,
        partial(http_ok, _reachable(host), port, "/health/ready", encrypted=https),
        host=host,
        port=port,
        llm_target=targets["llm"],
        speech_target=targets.get("speech", ""),
        **health,
        **exposure,
    )
    encoders = {f"{name}_target": targets.get(name, "") for name in ("vision", "speech")}
    llm = service("llm", **encoders)
    tiers = [[service(name) for name in started if name != "llm"], [llm], [gateway]]
    needs_key = bool(settings[GATEWAY].api_keys)
    return Topology(tiers, model, host, port, targets, https, needs_key, settings[GATEWAY].tls)


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def share_threads(cores: int, seeing: bool) -> dict[str, int]:
    """Threads per model: the llm works on every token, an encoder once per picture.

    A model that sees nothing may take all cores; the llm finds out by itself how many of them pay.
    """
    encoder = max(1, cores // 4)
    return {"vision": encoder, "speech": encoder, "llm": max(1, cores - encoder) if seeing else cores}


def _find_config(chosen: Path | None) -> Path:
    """The file named, else $AUTOGLM_CONFIG, else ./config.yaml, else the repository's."""
    if chosen or CONFIG_VARIABLE in os.environ:
        return (chosen or Path(os.environ[CONFIG_VARIABLE])).resolve()
    return DEFAULT_CONFIG.resolve() if DEFAULT_CONFIG.exists() else REPOSITORY / DEFAULT_CONFIG


def _find_model(folder: Path) -> Path:
    """A relative folder is looked for here, then in the repository; made-up weights have none."""
    if str(folder).startswith(DUMMY):
        return folder
    bundled = REPOSITORY / folder
    return (bundled if bundled.exists() and not folder.exists() else folder).resolve()


def _gateway_port(held: HeldPorts, host: str, port: int) -> int:
    try:
        if port and not is_free(host, port):
            raise PortInUseError(
                f"{host}:{port} is in use. Stop the server that listens there, or choose another with --port."
            )
        return held.pick([port], host)[0]
    except OSError as error:
        raise SettingsError(f"{host}:{port} cannot be bound: {error.strerror or error}") from error


def _service_ports(
    held: HeldPorts, settings: Mapping[str, ProcessSettings]
) -> dict[str, dict[str, int | None]]:
    """Port, health port and metrics port of each service: the configured ones where they are free."""
    keys = ("port", "health_port", "metrics_port")
    wanted = [getattr(own, key) for own in settings.values() for key in keys]
    picked = iter(held.pick([port for port in wanted if port is not None]))
    settled = iter([None if port is None else next(picked) for port in wanted])
    return {name: {key: next(settled) for key in keys} for name in settings}


def _reachable(host: str) -> str:
    """An address a client on this machine can use for a server bound to `host`."""
    return LOOPBACK if host in ("0.0.0.0", "::", "") else host
