"""Images that would not start, or start something else."""

from tests.deploy.planting import Plant, container, setting

PLANTS = (
    Plant(
        "a latest tag",
        "are_of_this_version",
        "autoglm/llm:latest",
        container("llm", lambda c: c.update(image="autoglm/llm:latest")),
    ),
    Plant(
        "no tag",
        "are_of_this_version",
        "not version",
        container("llm", lambda c: c.update(image="autoglm/llm")),
    ),
    Plant(
        "a registry in the name",
        "are_of_this_version",
        "names a registry",
        container("llm", lambda c: c.update(image="registry.example/llm:0.1.0")),
    ),
    Plant(
        "somebody else's image",
        "are_of_this_version",
        "no image of ours",
        container("speech", lambda c: c.update(image="autoglm/web:0.1.0")),
    ),
    Plant(
        "a model that the image does not hold",
        "hold_what_they_start",
        "opens models/other/llm",
        setting("AUTOGLM_LLM__MODEL", "models/other"),
    ),
    Plant(
        "CUDA in a CPU image",
        "fit_their_device",
        "runs on cuda, in autoglm/vision:0.1.0",
        setting("AUTOGLM_VISION__DEVICE", "cuda"),
    ),
    Plant(
        "CUDA without a GPU",
        "fit_their_device",
        "has no GPU",
        container("vision", lambda c: c["resources"]["limits"].pop("nvidia.com/gpu")),
        build="base + gpu",
    ),
)
