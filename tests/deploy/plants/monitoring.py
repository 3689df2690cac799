"""Monitors that scrape nothing, alerts that never come, and panels that stay empty."""

from deploy.validate.manifests import Manifests
from tests.deploy.planting import Plant, one, spec

MONITORING = "base + monitoring"


def draw_something_else(manifests: Manifests) -> None:
    data = one(manifests, "ConfigMap", "autoglm-dashboard")["data"]
    data["autoglm.json"] = data["autoglm.json"].replace(
        "autoglm_speech_streams", "autoglm_speech_streams_total"
    )


PLANTS = (
    Plant(
        "a port that no Service has",
        "monitors_find_services",
        "scrapes port metric,",
        spec("ServiceMonitor", "autoglm", lambda m: m["endpoints"][0].update(port="metric")),
        build=MONITORING,
    ),
    Plant(
        "a monitor of other labels",
        "monitors_find_services",
        "scrapes port metrics,",
        spec("ServiceMonitor", "autoglm", lambda m: m["selector"].update(matchLabels={"app": "autoglm"})),
        build=MONITORING,
    ),
    Plant(
        "an alert about a metric that is none",
        "alerts_know_their_metrics",
        "autoglm_llm_queue_length",
        spec(
            "PrometheusRule",
            "autoglm",
            lambda r: r["groups"][0]["rules"][0].update(expr="autoglm_llm_queue_length > 1"),
        ),
        build=MONITORING,
    ),
    Plant(
        "a panel of a metric that is none",
        "panels_know_their_metrics",
        "autoglm_speech_streams_total",
        draw_something_else,
        build=MONITORING,
    ),
)
