"""What Kubernetes itself would refuse."""

from tests.deploy.planting import Plant, container, one, spec

PLANTS = (
    Plant(
        "replicas in words",
        "schema",
        "replicas",
        spec("Deployment", "llm", lambda d: d.update(replicas="two")),
    ),
    Plant(
        "a misspelt key",
        "schema",
        "containerport",
        container("llm", lambda c: c["ports"][0].update(containerport=1)),
    ),
    Plant(
        "an API version that is gone",
        "schema",
        "policy/v1beta1",
        lambda manifests: one(manifests, "PodDisruptionBudget", "llm").update(apiVersion="policy/v1beta1"),
    ),
)
