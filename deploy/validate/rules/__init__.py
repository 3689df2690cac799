"""What has to hold of the manifests of one build. A rule yields what is wrong, one sentence each."""

from collections.abc import Callable, Iterator

from deploy.validate.manifests import Manifests
from deploy.validate.rules import images, monitoring, network, pods, settings, wiring

Rule = Callable[[Manifests], Iterator[str]]

# The others read the settings of each container, so these come first and stop the rest.
FIRST: tuple[Rule, ...] = (
    images.are_of_this_version,
    wiring.references_exist,
    settings.starts_with_its_settings,
)

THEN: tuple[Rule, ...] = (
    images.hold_what_they_start,
    images.fit_their_device,
    settings.declares_its_ports,
    settings.targets_lead_somewhere,
    pods.runs_unprivileged,
    pods.names_its_resources,
    pods.stops_in_time,
    wiring.selectors_match,
    wiring.services_reach_ports,
    wiring.probes_ask_the_right_thing,
    wiring.share_a_namespace,
    network.denies_by_default,
    network.policies_name_real_ports,
    network.policies_open_the_drawn_doors,
    monitoring.monitors_find_services,
    monitoring.alerts_know_their_metrics,
    monitoring.panels_know_their_metrics,
)


def check_rules(manifests: Manifests) -> Iterator[tuple[str, str]]:
    """Name of the rule and what is wrong, for everything that is."""
    first = list(_run(FIRST, manifests))
    yield from first or _run(THEN, manifests)


def _run(rules: tuple[Rule, ...], manifests: Manifests) -> Iterator[tuple[str, str]]:
    return ((rule.__name__, problem) for rule in rules for problem in rule(manifests))
