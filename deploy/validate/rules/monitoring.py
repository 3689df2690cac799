"""Monitors find the Services, and alerts are about metrics that the code exports."""

import re
from collections.abc import Iterator

from prometheus_client import REGISTRY

import services.vision.metrics  # noqa: F401
from deploy.validate.manifests import Manifests, selects
from services.llm.engine.stats import Distributions, EngineStats
from services.llm.metrics import EngineCollector

SUFFIXES = ("_bucket", "_count", "_sum", "_total")


def monitors_find_services(manifests: Manifests) -> Iterator[str]:
    """Each endpoint of a monitor is a named port of some Service that it selects."""
    services = list(manifests.of_kind("Service"))
    for monitor in manifests.of_kind("ServiceMonitor"):
        spec = monitor["spec"]
        found = [s for s in services if selects(spec["selector"], s["metadata"].get("labels", {}))]
        names = {entry["name"] for service in found for entry in service["spec"]["ports"]}
        for endpoint in spec["endpoints"]:
            if endpoint["port"] not in names:
                yield f"a monitor scrapes port {endpoint['port']}, which no Service it selects has"


def alerts_know_their_metrics(manifests: Manifests) -> Iterator[str]:
    """Every autoglm_* name in an expression is exported by a process."""
    exported = _exported()
    for document in manifests.of_kind("PrometheusRule"):
        for group in document["spec"]["groups"]:
            for rule in group["rules"]:
                for name in re.findall(r"\bautoglm_\w+", rule["expr"]):
                    if _family(name) not in exported and name not in exported:
                        yield f"alert {rule['alert']} asks for {name}, which nothing exports"


def _exported() -> set[str]:
    nothing = EngineStats(*[0] * len(EngineStats.__dataclass_fields__))
    engine = EngineCollector(lambda: nothing, Distributions())
    return {metric.name for source in (REGISTRY, engine) for metric in source.collect()}


def _family(name: str) -> str:
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")
    return name.removesuffix(suffix)
