"""The environment of each process against its settings classes."""

from collections.abc import Iterator

from deploy.validate.manifests import Container, Manifests
from deploy.validate.processes import PROCESSES, ports_of, settings_of
from servicekit.exposure import check_exposure, is_loopback
from servicekit.settings import SettingsError


def starts_with_its_settings(manifests: Manifests) -> Iterator[str]:
    """Every AUTOGLM_* variable is a setting, its value is allowed, and other pods reach the process."""
    for container in manifests.containers:
        if container.process not in PROCESSES:  # are_of_this_version says so
            continue
        try:
            settings = settings_of(container)
            check_exposure(settings.host, insecure=settings.insecure, encrypted=settings.encrypted)
        except SettingsError as error:
            yield f"{container} would not start: {error}"
            continue
        if is_loopback(settings.host):
            yield f"{container} binds {settings.host}, which no other pod reaches"


def declares_its_ports(manifests: Manifests) -> Iterator[str]:
    """Container ports are the ports that the process binds."""
    for container in manifests.containers:
        wanted = set(ports_of(settings_of(container)).values())
        if container.ports != wanted:
            yield f"{container} declares ports {sorted(container.ports)} and binds {sorted(wanted)}"


def targets_lead_somewhere(manifests: Manifests) -> Iterator[str]:
    """Each *_target names a Service, or loopback within a pod, and a port of the process in its name."""
    for container in manifests.containers:
        for key, target in settings_of(container):
            if key.endswith("_target") and target:
                yield from _check_target(manifests, container, key, target)


def _check_target(manifests: Manifests, container: Container, key: str, target: str) -> Iterator[str]:
    process, _, purpose = key.removesuffix("_target").partition("_")
    host, _, port = target.removeprefix("dns:///").rpartition(":")
    other = next((other for other in manifests.containers if other.process == process), None)
    if other is None:
        yield f"{container}: {key} is set, and there is no {process}"
        return
    wanted = ports_of(settings_of(other)).get(f"{purpose}_port" if purpose else "port")
    if int(port) != wanted:
        yield f"{container}: {key} is {target}, but {process} listens on {wanted}"
    if host == "127.0.0.1":
        if other.pod != container.pod:
            yield f"{container}: {key} is on loopback, but {process} runs in another pod"
        return
    if not target.startswith("dns:///"):
        yield f"{container}: {key} does not start with dns:///, so one replica takes all calls"
    service = manifests.named("Service", host)
    if service is None or int(port) not in {entry["port"] for entry in service["spec"]["ports"]}:
        yield f"{container}: {key} is {target}, which no Service offers"
