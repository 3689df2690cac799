"""Network policies with a door too many, a door too few, or a door in the wrong place."""

from tests.deploy.planting import Plant, ingress, spec, without

PORTS, DOORS = "policies_name_real_ports", "policies_open_the_drawn_doors"
GATEWAY = {"podSelector": {"matchLabels": {"serves-gateway": "true"}}}
NOBODY = {"podSelector": {"matchLabels": {"serves-gatway": "true"}}}

PLANTS = (
    Plant("a port that is none", PORTS, "opens port 50015", ingress("vision", 0, ports=[{"port": 50015}])),
    Plant("a peer that is none", PORTS, "which no pod is", ingress("llm", 0, **{"from": [NOBODY]})),
    Plant(
        "a policy for nobody",
        PORTS,
        "NetworkPolicy speech selects no pod",
        spec("NetworkPolicy", "speech", lambda p: p.update(podSelector=NOBODY["podSelector"])),
    ),
    Plant(
        "no default deny",
        "denies_by_default",
        "denies everything",
        without("NetworkPolicy", "default-deny"),
    ),
    Plant(
        "a way out for everyone",
        DOORS,
        "vision may reach gateway/gateway on 8000",
        spec("NetworkPolicy", "dns", lambda p: p.update(egress=[{}])),
    ),
    Plant(
        "an encoder open to anyone",
        DOORS,
        "anyone may reach vision/vision on 50051",
        ingress("vision", 0, **{"from": []}),
    ),
    Plant(
        "all ports to the gateway",
        DOORS,
        "anyone may reach llm/llm on 52053",
        ingress("llm", 0, **{"from": [], "ports": []}),
    ),
    Plant(
        "pictures past the llm service",
        DOORS,
        "gateway may reach vision/vision on 50051",
        lambda manifests: (
            ingress("vision", 0, **{"from": [GATEWAY]})(manifests),
            spec("NetworkPolicy", "gateway", lambda p: p["egress"][2].update(ports=[{"port": 50051}]))(
                manifests
            ),
        ),
    ),
    Plant(
        "no way out to the encoders",
        DOORS,
        "llm cannot reach vision/vision on 50051",
        spec("NetworkPolicy", "llm", lambda p: p.update(egress=[])),
    ),
    Plant(
        "no way in to the gateway",
        DOORS,
        "anyone cannot reach gateway/gateway on 8000",
        ingress("gateway", 0, **{"from": [GATEWAY]}),
    ),
)
