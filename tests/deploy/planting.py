"""How a mistake is planted in a sound build, and what has to find it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deploy.validate.manifests import Document, Manifests

Change = Callable[[Manifests], Any]


@dataclass(frozen=True)
class Plant:
    """A mistake: the rule that finds it, a part of what it says, and the build it is planted in."""

    mistake: str
    rule: str
    says: str
    change: Change
    build: str = "cpu"

    def __str__(self) -> str:
        return self.mistake.replace(" ", "-")


def one(manifests: Manifests, kind: str, name: str) -> Document:
    found = manifests.named(kind, name)
    assert found is not None, f"there is no {kind} {name}"
    return found


def spec(kind: str, name: str, change: Callable[[Document], Any]) -> Change:
    """Changes the spec of a document."""
    return lambda manifests: change(one(manifests, kind, name)["spec"])


def pod(name: str, change: Callable[[Document], Any]) -> Change:
    """Changes the pods of a Deployment."""
    return spec("Deployment", name, lambda deployment: change(deployment["template"]["spec"]))


def container(name: str, change: Callable[[Document], Any]) -> Change:
    """Changes the container of a Deployment that has one."""
    return pod(name, lambda of_pod: change(of_pod["containers"][0]))


def setting(key: str, value: str | None) -> Change:
    """Sets a variable in the ConfigMap, or takes it out."""

    def change(manifests: Manifests) -> None:
        data = next(manifests.of_kind("ConfigMap"))["data"]
        data.pop(key, None)
        if value is not None:
            data[key] = value

    return change


def without(kind: str, name: str) -> Change:
    """Takes a document out."""
    return lambda manifests: manifests.documents.remove(one(manifests, kind, name))


def ingress(name: str, index: int, **values: Any) -> Change:
    """Changes a rule of a NetworkPolicy."""
    return spec("NetworkPolicy", name, lambda policy: policy["ingress"][index].update(values))


def probe(name: str, which: str, how: str, **values: Any) -> Change:
    """Changes what a probe asks for."""
    return container(name, lambda c: c[which][how].update(values))


def security(name: str, **values: Any) -> Change:
    """Changes the security context of a container."""
    return container(name, lambda c: c["securityContext"].update(values))
