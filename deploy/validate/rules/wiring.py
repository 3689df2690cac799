"""Names and numbers that have to agree between documents."""

import asyncio
from collections.abc import Iterator
from functools import cache

from deploy.validate.manifests import Container, Document, Manifests, selects
from deploy.validate.processes import PROCESSES, ports_of, settings_of
from gateway.app import create_app
from gateway.clients import Clients
from gateway.settings import GatewaySettings
from servicekit.server import LIVENESS

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
CLUSTER_WIDE = ("Namespace",)


def selectors_match(manifests: Manifests) -> Iterator[str]:
    """Every selector finds what it is meant to find, and two Deployments never claim the same pod."""
    pods = manifests.pods
    for deployment in manifests.of_kind("Deployment"):
        name, selector = deployment["metadata"]["name"], deployment["spec"]["selector"]
        found = [pod.name for pod in pods if selects(selector, pod.labels)]
        if found != [name]:
            yield f"Deployment {name} selects the pods of {found}"
    for service in manifests.of_kind("Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        if not any(selects(selector, pod.labels) for pod in pods):
            yield f"Service {service['metadata']['name']} selects no pod"
    budgets = list(manifests.of_kind("PodDisruptionBudget"))
    for pod in pods:
        if sum(selects(budget["spec"]["selector"], pod.labels) for budget in budgets) != 1:
            yield f"{pod.name} is not under exactly one PodDisruptionBudget"
    for budget in budgets:
        if not any(selects(budget["spec"]["selector"], pod.labels) for pod in pods):
            yield f"PodDisruptionBudget {budget['metadata']['name']} selects no pod"


def references_exist(manifests: Manifests) -> Iterator[str]:
    """What is referred to by name is there: ConfigMaps, volumes, autoscalers' targets, claims."""
    for container in manifests.containers:
        for source in container.spec.get("envFrom", []):
            if not manifests.named("ConfigMap", name := source["configMapRef"]["name"]):
                yield f"{container} takes settings from ConfigMap {name}, which is not there"
    for scaler in manifests.of_kind("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        deployment = manifests.named(target["kind"], target["name"])
        if deployment is None:
            yield f"an autoscaler scales {target['kind']} {target['name']}, which is not there"
        elif "replicas" in deployment["spec"]:
            yield f"{target['name']} says its replicas, though an autoscaler does"
    for pod in manifests.pods:
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
        claims = {claim["name"]: claim["resourceClaimName"] for claim in pod.spec.get("resourceClaims", [])}
        for container in pod.containers:
            for mount in container.spec.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{container} mounts {mount['name']}, which is no volume of its pod"
            for used in container.spec.get("resources", {}).get("claims", []):
                claim = manifests.named("ResourceClaim", claims.get(used["name"], ""))
                if claim is None or used.get("request") not in {None, *_requests(claim)}:
                    yield f"{container} uses claim {used['name']}/{used.get('request')}, which is not there"


def _requests(claim: Document) -> set[str]:
    return {request["name"] for request in claim["spec"]["devices"]["requests"]}


def services_reach_ports(manifests: Manifests) -> Iterator[str]:
    """A Service's ports are ports of its pods; clients balance gRPC, so its Services are headless."""
    for service in manifests.of_kind("Service"):
        name, spec = service["metadata"]["name"], service["spec"]
        pods = [pod for pod in manifests.pods if selects({"matchLabels": spec["selector"]}, pod.labels)]
        for entry in spec["ports"]:
            target = entry.get("targetPort", entry["port"])
            if not all(target in pod.ports for pod in pods):
                yield f"Service {name} leads to port {target}, which its pods do not have"
        if any(entry["name"] == "grpc" for entry in spec["ports"]) and spec.get("clusterIP") != "None":
            yield f"Service {name} is not headless: each client would stay with one replica"


def probes_ask_the_right_thing(manifests: Manifests) -> Iterator[str]:
    """All three probes, on the health port, under names that the code serves."""
    paths = _gateway_paths()
    for container in manifests.containers:
        for name in PROBES:
            probe = container.spec.get(name)
            if probe is None:
                yield f"{container} has no {name}"
            elif health_name := PROCESSES[container.process].health_name:
                wanted = LIVENESS if name == "livenessProbe" else health_name
                yield from _check_grpc(container, name, probe.get("grpc", {}), wanted)
            else:
                yield from _check_http(container, name, probe.get("httpGet", {}), paths)


def _check_grpc(container: Container, name: str, probe: Document, wanted: str) -> Iterator[str]:
    port = ports_of(settings_of(container)).get("health_port")
    if probe.get("port") != port:
        yield f"{container}: {name} asks port {probe.get('port')}; health is on {port}"
    if probe.get("service") != wanted:
        yield f"{container}: {name} asks for {probe.get('service')!r} instead of {wanted!r}"


def _check_http(container: Container, name: str, probe: Document, paths: set[str]) -> Iterator[str]:
    if probe.get("port") not in container.ports:
        yield f"{container}: {name} asks port {probe.get('port')}, which it does not have"
    if probe.get("path") not in paths:
        yield f"{container}: {name} asks for {probe.get('path')}, which the gateway does not know"


@cache
def _gateway_paths() -> set[str]:
    async def paths() -> set[str]:
        settings = GatewaySettings()
        async with Clients(settings) as clients:
            return set(create_app(clients, settings).openapi()["paths"])

    return asyncio.run(paths())


def share_a_namespace(manifests: Manifests) -> Iterator[str]:
    """Everything is in the one namespace that the build makes; service names resolve within it."""
    made = {document["metadata"]["name"] for document in manifests.of_kind("Namespace")}
    for document in manifests.documents:
        if document["kind"] not in CLUSTER_WIDE and document["metadata"].get("namespace") not in made:
            yield f"{document['kind']} {document['metadata']['name']} is not in the namespace of the others"
