"""Monitors find the Services; alerts and panels are about metrics that the code exports."""

import json
import re
from collections.abc import Iterator
from typing import Any

from deploy.validate.manifests import Manifests, selects
from deploy.validate.metrics import exported, family

DASHBOARD_LABEL = "grafana_dashboard"


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
    """Every autoglm_* name in an alert's expression is exported by a process."""
    for rule in alerts(manifests):
        for series in _unknown(rule["expr"]):
            yield f"alert {rule['alert']} asks for {series}, which nothing exports"


def panels_know_their_metrics(manifests: Manifests) -> Iterator[str]:
    """The same for the panels of the dashboards."""
    for panel in panels(manifests):
        for target in panel.get("targets", ()):
            for series in _unknown(target["expr"]):
                yield f"panel {panel['title']} draws {series}, which nothing exports"


def alerts(manifests: Manifests) -> Iterator[dict[str, Any]]:
    """All alerts of a build."""
    for document in manifests.of_kind("PrometheusRule"):
        for group in document["spec"]["groups"]:
            yield from group["rules"]


def panels(manifests: Manifests) -> Iterator[dict[str, Any]]:
    """All panels of the dashboards of a build, those that are only headings too."""
    for document in manifests.of_kind("ConfigMap"):
        if DASHBOARD_LABEL in document["metadata"].get("labels", {}):
            for text in document["data"].values():
                yield from json.loads(text)["panels"]


def asked_for(expression: str) -> set[str]:
    """Our series in an expression."""
    return set(re.findall(r"\bautoglm_\w+", expression))


def _unknown(expression: str) -> list[str]:
    types = exported()

    def is_known(series: str) -> bool:
        return series in types or types.get(family(series)) == "histogram"

    return sorted(series for series in asked_for(expression) if not is_known(series))
