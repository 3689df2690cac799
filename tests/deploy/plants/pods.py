"""Pods that may too much, say too little, or are cut off."""

from tests.deploy.planting import Plant, container, pod, security, setting

UNPRIVILEGED, RESOURCES, STOPS = "runs_unprivileged", "names_its_resources", "stops_in_time"
HOST_FOLDER = {"name": "host", "hostPath": {"path": "/"}}

PLANTS = (
    Plant(
        "root by number",
        UNPRIVILEGED,
        "vision may run as root",
        pod("vision", lambda p: p["securityContext"].update(runAsUser=0)),
    ),
    Plant(
        "root by omission",
        UNPRIVILEGED,
        "vision may run as root",
        pod("vision", lambda p: p["securityContext"].pop("runAsNonRoot")),
    ),
    Plant(
        "root in one container",
        UNPRIVILEGED,
        "vision/vision may run as root",
        security("vision", runAsUser=0),
    ),
    Plant(
        "no seccomp profile",
        UNPRIVILEGED,
        "seccomp",
        pod("vision", lambda p: p["securityContext"].pop("seccompProfile")),
    ),
    Plant(
        "an API token", UNPRIVILEGED, "token", pod("vision", lambda p: p.pop("automountServiceAccountToken"))
    ),
    Plant("the host's network", UNPRIVILEGED, "host", pod("vision", lambda p: p.update(hostNetwork=True))),
    Plant("a host folder", UNPRIVILEGED, "host", pod("vision", lambda p: p["volumes"].append(HOST_FOLDER))),
    Plant("a privileged container", UNPRIVILEGED, "gain privileges", security("vision", privileged=True)),
    Plant(
        "a capability kept",
        UNPRIVILEGED,
        "keeps capabilities",
        security("vision", capabilities={"drop": ["ALL"], "add": ["SYS_PTRACE"]}),
    ),
    Plant(
        "a writable root file system",
        UNPRIVILEGED,
        "may write",
        security("vision", readOnlyRootFilesystem=False),
    ),
    Plant("no scratch folder", UNPRIVILEGED, "/tmp", container("vision", lambda c: c.pop("volumeMounts"))),
    Plant(
        "no memory limit",
        RESOURCES,
        "how much memory",
        container("vision", lambda c: c["resources"]["limits"].pop("memory")),
    ),
    Plant(
        "a request above its limit",
        RESOURCES,
        "more memory than its limit",
        container("vision", lambda c: c["resources"]["requests"].update(memory="4Gi")),
    ),
    Plant(
        "more threads than cores",
        RESOURCES,
        "num_threads 8",
        setting("AUTOGLM_LLM__NUM_THREADS", "8"),
    ),
    Plant(
        "threads for the whole node", RESOURCES, "num_threads 0", setting("AUTOGLM_LLM__NUM_THREADS", None)
    ),
    Plant(
        "the grace period of Kubernetes",
        STOPS,
        "killed after 30 s",
        pod("llm", lambda p: p.pop("terminationGracePeriodSeconds")),
    ),
    Plant("no preStop", STOPS, "no preStop", container("llm", lambda c: c.pop("lifecycle"))),
    Plant(
        "a drain shorter than an answer",
        STOPS,
        "an answer may take 300 s",
        setting("AUTOGLM_LLM__DRAIN_SECONDS", "120"),
    ),
    Plant(
        "a drain shorter than preStop",
        STOPS,
        "no longer than preStop",
        setting("AUTOGLM_LLM__DRAIN_SECONDS", "20"),
    ),
    Plant(
        "longer answers than anybody waits for",
        STOPS,
        "an answer may take 600 s",
        setting("AUTOGLM_GATEWAY__REQUEST_TIMEOUT_S", "600"),
    ),
)
