"""Settings that are none, and addresses that lead nowhere."""

from tests.deploy.planting import Plant, container, setting

PLANTS = (
    Plant(
        "an unknown key",
        "starts_with_its_settings",
        "max_runing",
        setting("AUTOGLM_LLM__MAX_RUNING", "8"),
    ),
    Plant(
        "an unknown section", "starts_with_its_settings", "VISON", setting("AUTOGLM_VISON__MAX_BATCH", "8")
    ),
    Plant(
        "a value out of range", "starts_with_its_settings", "port", setting("AUTOGLM_VISION__PORT", "99999")
    ),
    Plant(
        "plaintext not asked for",
        "starts_with_its_settings",
        "insecure",
        setting("AUTOGLM_VISION__INSECURE", None),
    ),
    Plant(
        "a process on loopback",
        "starts_with_its_settings",
        "no other pod reaches",
        setting("AUTOGLM_VISION__HOST", "127.0.0.1"),
    ),
    Plant(
        "a port moved in the settings alone",
        "declares_its_ports",
        "binds [50060",
        setting("AUTOGLM_VISION__PORT", "50060"),
    ),
    Plant(
        "a port moved in the manifest alone",
        "declares_its_ports",
        "declares ports [50060",
        container("vision", lambda c: c["ports"][0].update(containerPort=50060)),
    ),
    Plant(
        "a target misspelt",
        "targets_lead_somewhere",
        "which no Service offers",
        setting("AUTOGLM_LLM__VISION_TARGET", "dns:///vison:50051"),
    ),
    Plant(
        "a health target on the main port",
        "targets_lead_somewhere",
        "llm listens on 51053",
        setting("AUTOGLM_GATEWAY__LLM_HEALTH_TARGET", "dns:///llm:50053"),
    ),
    Plant(
        "a target without client-side balancing",
        "targets_lead_somewhere",
        "one replica takes all calls",
        setting("AUTOGLM_GATEWAY__LLM_TARGET", "llm:50053"),
    ),
    Plant(
        "loopback between pods",
        "targets_lead_somewhere",
        "runs in another pod",
        setting("AUTOGLM_LLM__VISION_TARGET", "127.0.0.1:50051"),
    ),
)
