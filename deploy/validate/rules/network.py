"""The network policies, played through: which pod may open a connection to which port of which."""

from collections.abc import Iterator

from deploy.validate.manifests import Container, Document, Manifests, Pod, selects
from deploy.validate.processes import GATEWAY, ports_of, settings_of

# server -> purpose of a port -> who may open it. Metrics are for other namespaces: nobody in this one.
ALLOWED: dict[str, dict[str, set[str]]] = {
    "llm": {"port": {GATEWAY}, "health_port": {GATEWAY}},
    "vision": {"port": {"llm"}, "health_port": {GATEWAY}},
    "speech": {"port": {"llm", GATEWAY}, "health_port": {GATEWAY}},
    GATEWAY: {},
}


def denies_by_default(manifests: Manifests) -> Iterator[str]:
    """One policy shuts every pod, those still to come as well, in both directions."""
    shut = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if not any(policy["spec"] == shut for policy in manifests.of_kind("NetworkPolicy")):
        yield "no NetworkPolicy denies everything by default"


def policies_name_real_ports(manifests: Manifests) -> Iterator[str]:
    """A policy selects pods that exist, and opens ports that exist where it leads."""
    pods = manifests.pods
    for policy in manifests.of_kind("NetworkPolicy"):
        name, spec = policy["metadata"]["name"], policy["spec"]
        selected = [pod for pod in pods if selects(spec["podSelector"], pod.labels)]
        if not selected:
            yield f"NetworkPolicy {name} selects no pod"
        for rule in spec.get("ingress", []):
            yield from _check_ports(f"NetworkPolicy {name}", rule, selected)
            yield from _check_peers(f"NetworkPolicy {name}", rule.get("from", []), pods)
        for rule in spec.get("egress", []):
            peers = rule.get("to", [])
            yield from _check_peers(f"NetworkPolicy {name}", peers, pods)
            inside = [pod for pod in pods if any(_is_peer(peer, pod) for peer in peers)]
            if inside:
                yield from _check_ports(f"NetworkPolicy {name}", rule, inside)


def _check_ports(name: str, rule: Document, pods: list[Pod]) -> Iterator[str]:
    have = {port for pod in pods for port in pod.ports}
    for port in _ports(rule) - have:
        yield f"{name} opens port {port}, which is not there"


def _check_peers(name: str, peers: list[Document], pods: list[Pod]) -> Iterator[str]:
    for peer in peers:
        if peer.keys() == {"podSelector"} and not any(_is_peer(peer, pod) for pod in pods):
            yield f"{name} lets {peer['podSelector'].get('matchLabels')} through, which no pod is"


def policies_open_the_drawn_doors(manifests: Manifests) -> Iterator[str]:
    """Between our pods exactly the connections of ALLOWED; from outside the gateway's port alone."""
    for server in manifests.pods:
        for container in server.containers:
            for purpose, port in ports_of(settings_of(container)).items():
                yield from _check_clients(manifests, server, container, purpose, port)
                is_front = container.process == GATEWAY and purpose == "port"
                if _lets_in(manifests, server, port, None) is not is_front:
                    yield f"anyone {'cannot' if is_front else 'may'} reach {container} on {port} ({purpose})"


def _check_clients(
    manifests: Manifests, server: Pod, container: Container, purpose: str, port: int
) -> Iterator[str]:
    wanted = ALLOWED[container.process].get(purpose, set())
    for client in manifests.pods:
        if client.name == server.name:  # containers of one pod talk over loopback, which passes no policy
            continue
        may = _may_connect(manifests, client, server, port)
        if may is not bool(wanted & {own.process for own in client.containers}):
            yield f"{client.name} {'may' if may else 'cannot'} reach {container} on {port} ({purpose})"


def _may_connect(manifests: Manifests, client: Pod, server: Pod, port: int) -> bool:
    return _lets_out(manifests, client, port, server) and _lets_in(manifests, server, port, client)


def _lets_in(manifests: Manifests, pod: Pod, port: int, client: Pod | None) -> bool:
    """Whether a pod accepts connections of `client`, or of anyone at all when it is None."""
    policies = _policies(manifests, pod, "Ingress")
    rules = [rule for policy in policies for rule in policy.get("ingress", [])]
    return not policies or any(
        port in (_ports(rule) or {port}) and _fits(rule.get("from", []), client) for rule in rules
    )


def _lets_out(manifests: Manifests, pod: Pod, port: int, server: Pod) -> bool:
    policies = _policies(manifests, pod, "Egress")
    rules = [rule for policy in policies for rule in policy.get("egress", [])]
    return not policies or any(
        port in (_ports(rule) or {port}) and _fits(rule.get("to", []), server) for rule in rules
    )


def _policies(manifests: Manifests, pod: Pod, direction: str) -> list[Document]:
    specs = [policy["spec"] for policy in manifests.of_kind("NetworkPolicy")]
    return [
        spec
        for spec in specs
        if direction in spec["policyTypes"] and selects(spec["podSelector"], pod.labels)
    ]


def _ports(rule: Document) -> set[int]:
    return {entry["port"] for entry in rule.get("ports", [])}


def _fits(peers: list[Document], pod: Pod | None) -> bool:
    """No peers means anyone."""
    return not peers or (pod is not None and any(_is_peer(peer, pod) for peer in peers))


def _is_peer(peer: Document, pod: Pod) -> bool:
    """Whether a peer of a rule is this pod of ours; other namespaces and addresses are not."""
    return peer.keys() == {"podSelector"} and selects(peer["podSelector"], pod.labels)
