"""Names and numbers that no longer agree."""

from tests.deploy.planting import Plant, container, one, probe, spec, without

SELECTORS, REFERENCES, SERVICES = "selectors_match", "references_exist", "services_reach_ports"
PROBES = "probes_ask_the_right_thing"

PLANTS = (
    Plant(
        "a Deployment that does not select its pods",
        SELECTORS,
        "Deployment llm selects the pods of []",
        spec(
            "Deployment",
            "llm",
            lambda d: d["selector"]["matchLabels"].update({"app.kubernetes.io/name": "lm"}),
        ),
    ),
    Plant(
        "two Deployments that claim the same pods",
        SELECTORS,
        "Deployment llm selects the pods of ['gateway', 'llm', 'speech', 'vision']",
        spec(
            "Deployment",
            "llm",
            lambda d: d["selector"].update(matchLabels={"app.kubernetes.io/part-of": "autoglm-server"}),
        ),
    ),
    Plant(
        "a Service for nobody",
        SELECTORS,
        "Service vision selects no pod",
        spec("Service", "vision", lambda s: s.update(selector={"serves-vison": "true"})),
    ),
    Plant(
        "a budget for nobody",
        SELECTORS,
        "PodDisruptionBudget llm selects no pod",
        spec(
            "PodDisruptionBudget",
            "llm",
            lambda b: b["selector"]["matchLabels"].update({"app.kubernetes.io/name": "lm"}),
        ),
    ),
    Plant("no budget", SELECTORS, "exactly one PodDisruptionBudget", without("PodDisruptionBudget", "llm")),
    Plant(
        "settings from nowhere",
        REFERENCES,
        "ConfigMap setings",
        container("speech", lambda c: c["envFrom"][0]["configMapRef"].update(name="setings")),
    ),
    Plant(
        "a mount of no volume",
        REFERENCES,
        "mounts scratch",
        container("llm", lambda c: c["volumeMounts"][0].update(name="scratch")),
    ),
    Plant(
        "an autoscaler of nothing",
        REFERENCES,
        "Deployment vison, which is not there",
        spec("HorizontalPodAutoscaler", "vision", lambda h: h["scaleTargetRef"].update(name="vison")),
        build="base + autoscaling",
    ),
    Plant(
        "replicas beside an autoscaler",
        REFERENCES,
        "says its replicas",
        spec("Deployment", "llm", lambda d: d.update(replicas=2)),
        build="base + autoscaling",
    ),
    Plant(
        "a GPU that the claim does not have",
        REFERENCES,
        "claim gpus/gpu-2",
        container("llm", lambda c: c["resources"]["claims"][0].update(request="gpu-2")),
        build="gpu-2x4090-dra",
    ),
    Plant(
        "no claim", REFERENCES, "claim gpus/gpu-0", without("ResourceClaim", "gpus"), build="gpu-2x4090-dra"
    ),
    Plant(
        "a Service on another port",
        SERVICES,
        "leads to port 8080",
        spec("Service", "gateway", lambda s: s["ports"][0].update(targetPort=8080)),
    ),
    Plant(
        "a gRPC Service with an address",
        SERVICES,
        "Service llm is not headless",
        spec("Service", "llm", lambda s: s.pop("clusterIP")),
    ),
    Plant(
        "a probe for another service",
        PROBES,
        "asks for 'autoglm.vision.v1.Vision'",
        probe("vision", "readinessProbe", "grpc", service="autoglm.vision.v1.Vision"),
    ),
    Plant(
        "a restart for a full queue",
        PROBES,
        "instead of 'liveness'",
        probe("llm", "livenessProbe", "grpc", service="autoglm.llm.v1.LLMService"),
    ),
    Plant(
        "a probe of the main port",
        PROBES,
        "health is on 51053",
        probe("llm", "startupProbe", "grpc", port=50053),
    ),
    Plant(
        "a probe of a path that is none",
        PROBES,
        "/healthz, which the gateway does not know",
        probe("gateway", "livenessProbe", "httpGet", path="/healthz"),
    ),
    Plant("no startup probe", PROBES, "no startupProbe", container("llm", lambda c: c.pop("startupProbe"))),
    Plant(
        "another namespace",
        "share_a_namespace",
        "Service vision is not in the namespace",
        lambda manifests: one(manifests, "Service", "vision")["metadata"].update(namespace="default"),
    ),
)
