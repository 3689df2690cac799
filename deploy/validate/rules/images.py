"""Images: pinned, of this version, and holding what they start."""

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from deploy.validate.build import REPOSITORY
from deploy.validate.dockerfile import Dockerfile
from deploy.validate.manifests import Container, Manifests
from deploy.validate.processes import PROCESSES, settings_of

CUDA = "-cuda"


def are_of_this_version(manifests: Manifests) -> Iterator[str]:
    """A tag that names the version, never `latest`, and no registry: that is for the cluster to add."""
    version = project_version()
    for container in manifests.containers:
        name, _, tag = container.image.partition(":")
        if tag not in (version, version + CUDA):
            yield f"{container} runs {container.image}, not version {version}"
        if re.search(r"[.:]", name.partition("/")[0]):
            yield f"{container} names a registry: {container.image}"
        if container.process not in PROCESSES:
            yield f"{container} runs {container.image}, which is no image of ours"


def hold_what_they_start(manifests: Manifests) -> Iterator[str]:
    """The Dockerfile has a target for each image, which starts its process and holds its model."""
    dockerfile = Dockerfile.load()
    for container in manifests.containers:
        for problem in image_problems(dockerfile, container.process):
            yield f"{container}: {problem}"
        yield from _check_model(dockerfile, container)


def image_problems(dockerfile: Dockerfile, target: str) -> Iterator[str]:
    """What keeps the image `target` from starting its process."""
    if target not in dockerfile.stages:
        yield f"the Dockerfile has no target {target}"
        return
    module, wanted = dockerfile.module(target), PROCESSES[target].module
    if module != wanted:
        yield f"the image starts {module} instead of {wanted}"
    elif importlib.util.find_spec(f"{module}.__main__") is None:
        yield f"there is no module {module} to start"
    elif not dockerfile.holds(target, Path(*module.split("."))):
        yield f"the image does not hold {module}"
    for argument, base in dockerfile.bases.items():
        if not re.search(r"[:@].*\d", base):
            yield f"the base image {argument}={base} is not pinned"
    if not dockerfile.holds(target, Path("config.yaml")):
        yield "the image does not hold config.yaml"


def _check_model(dockerfile: Dockerfile, container: Container) -> Iterator[str]:
    model: Path | None = getattr(settings_of(container), "model", None)
    part = model / container.process if model else None
    if part and not dockerfile.holds(container.process, part):
        yield f"{container} opens {part}, which its image does not hold"


def fit_their_device(manifests: Manifests) -> Iterator[str]:
    """A process told to use CUDA runs the CUDA image and has a GPU; one on the CPU holds none."""
    for container in manifests.containers:
        device = getattr(settings_of(container), "device", None)
        if device is None:
            continue
        wants = device.startswith("cuda")
        if wants is not container.image.endswith(CUDA):
            yield f"{container} runs on {device}, in {container.image}"
        if wants is not _has_gpu(container):
            yield f"{container} runs on {device}, and {'has no' if wants else 'takes a'} GPU"


def _has_gpu(container: Container) -> bool:
    resources = container.spec.get("resources", {})
    asked = "nvidia.com/gpu" in resources.get("limits", {}) or bool(resources.get("claims"))
    return asked or "NVIDIA_VISIBLE_DEVICES" in container.environment


@cache
def project_version() -> str:
    """The version in pyproject.toml."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])
