"""What a pod may do, what it takes, and how it stops."""

from collections.abc import Iterator
from typing import Any

from deploy.validate.manifests import Container, Manifests
from deploy.validate.processes import settings_of
from gateway.settings import GatewaySettings

HOST_ACCESS = ("hostNetwork", "hostPID", "hostIPC")
SUFFIXES = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def runs_unprivileged(manifests: Manifests) -> Iterator[str]:
    """Not root, no capabilities, nothing of the host, a read-only root file system with a scratch folder."""
    for pod in manifests.pods:
        context = pod.spec.get("securityContext", {})
        if not context.get("runAsNonRoot") or not context.get("runAsUser"):
            yield f"{pod.name} may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{pod.name} has no seccomp profile"
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.name} is given a token for the Kubernetes API"
        volumes = pod.spec.get("volumes", [])
        if any(map(pod.spec.get, HOST_ACCESS)) or any("hostPath" in volume for volume in volumes):
            yield f"{pod.name} reaches into the host"
        for container in pod.containers:
            yield from _privileges(container)


def _privileges(container: Container) -> Iterator[str]:
    context = container.spec.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield f"{container} may gain privileges"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{container} keeps capabilities"
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield f"{container} may run as root"
    if not context.get("readOnlyRootFilesystem"):
        yield f"{container} may write to its root file system"
    if "/tmp" not in {mount["mountPath"] for mount in container.spec.get("volumeMounts", [])}:
        yield f"{container} has no writable /tmp"


def names_its_resources(manifests: Manifests) -> Iterator[str]:
    """Requests and limits of processor and memory, the one within the other; threads within the limit."""
    for container in manifests.containers:
        resources = container.spec.get("resources", {})
        for name in ("cpu", "memory"):
            request, limit = (quantity(resources.get(key, {}).get(name)) for key in ("requests", "limits"))
            if not request or not limit:
                yield f"{container} does not say how much {name} it takes"
            elif request > limit:
                yield f"{container} requests more {name} than its limit"
        cores = quantity(resources.get("limits", {}).get("cpu")) or 0.0
        threads = getattr(settings_of(container), "num_threads", None)
        if threads is not None and not 0 < threads < cores:
            yield f"{container} has num_threads {threads}, which does not fit its limit of {cores:g} cores"


def quantity(text: Any) -> float | None:
    """A Kubernetes quantity as a number; None when there is none."""
    if text is None:
        return None
    text = str(text)
    suffix = next((suffix for suffix in SUFFIXES if text.endswith(suffix)), "")
    return float(text.removesuffix(suffix)) * SUFFIXES.get(suffix, 1.0)


def stops_in_time(manifests: Manifests) -> Iterator[str]:
    """grace > preStop + drain, drain > preStop, drain > the longest answer: nobody is cut off."""
    for pod in manifests.pods:
        grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        for container in pod.containers:
            pause = _pause(container)
            settings = settings_of(container)
            drain, longest = settings.drain_seconds, _longest_answer(manifests)
            if not pause:
                yield f"{container} stops before its callers know: it has no preStop"
            if grace <= pause + drain:
                yield f"{container} is killed after {grace:g} s; preStop and drain take {pause + drain:g} s"
            if drain <= pause:
                yield f"{container} drains for {drain:g} s, no longer than preStop ({pause:g} s)"
            if drain <= longest:
                yield f"{container} drains for {drain:g} s; an answer may take {longest:g} s"


def _pause(container: Container) -> float:
    hook = container.spec.get("lifecycle", {}).get("preStop", {})
    return float(hook.get("sleep", {}).get("seconds", 0))


def _longest_answer(manifests: Manifests) -> float:
    settings = map(settings_of, manifests.containers)
    return max((own.request_timeout_s for own in settings if isinstance(own, GatewaySettings)), default=0.0)
