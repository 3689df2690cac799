"""Manifests of one build, and the pods in them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import yaml

Document = dict[str, Any]


@dataclass(frozen=True)
class Container:
    """A container of a pod; `environment` is what its process will find."""

    pod: str
    spec: Document
    environment: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.pod}/{self.spec['name']}"

    @property
    def image(self) -> str:
        """Name and tag."""
        return str(self.spec.get("image", ""))

    @property
    def process(self) -> str:
        """Which process the image holds: the last part of its name, without the tag."""
        return self.image.rpartition("/")[2].partition(":")[0]

    @property
    def ports(self) -> set[int]:
        """Ports that it declares."""
        return {port["containerPort"] for port in self.spec.get("ports", [])}


@dataclass(frozen=True)
class Pod:
    """The pods that one Deployment makes."""

    name: str
    labels: Mapping[str, str]
    spec: Document
    containers: tuple[Container, ...]

    @property
    def ports(self) -> set[int]:
        """Ports of all containers."""
        return {port for container in self.containers for port in container.ports}


@dataclass(frozen=True)
class Manifests:
    """All documents of a build."""

    documents: list[Document]

    @classmethod
    def read(cls, text: str) -> Self:
        """From what kustomize prints."""
        return cls([document for document in yaml.safe_load_all(text) if document])

    def of_kind(self, kind: str) -> Iterator[Document]:
        """Documents of a kind."""
        return (document for document in self.documents if document["kind"] == kind)

    def named(self, kind: str, name: str) -> Document | None:
        """One document, if it is there."""
        return next((found for found in self.of_kind(kind) if found["metadata"]["name"] == name), None)

    @property
    def pods(self) -> list[Pod]:
        """One per Deployment."""
        return [self._pod(deployment) for deployment in self.of_kind("Deployment")]

    @property
    def containers(self) -> list[Container]:
        """Those of all pods."""
        return [container for pod in self.pods for container in pod.containers]

    def _pod(self, deployment: Document) -> Pod:
        name, template = deployment["metadata"]["name"], deployment["spec"]["template"]
        containers = tuple(
            Container(name, spec, self._environment(spec)) for spec in template["spec"]["containers"]
        )
        return Pod(name, template["metadata"].get("labels", {}), template["spec"], containers)

    def _environment(self, container: Document) -> dict[str, str]:
        environment: dict[str, str] = {}
        for source in container.get("envFrom", []):
            settings = self.named("ConfigMap", source["configMapRef"]["name"])
            environment |= settings["data"] if settings else {}
        return environment | {pair["name"]: pair.get("value", "") for pair in container.get("env", [])}


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a label selector fits; an empty one fits all. Only `matchLabels` is understood."""
    if unknown := selector.keys() - {"matchLabels"}:
        raise ValueError(f"a selector with {', '.join(sorted(unknown))} is not understood here")
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
