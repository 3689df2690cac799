"""Monitors that scrape nothing, and alerts that never come."""

from tests.deploy.planting import Plant, spec

MONITORING = "base + monitoring"

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
)
