"""Manifests as kustomize builds them: every overlay, and every component over the base."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from deploy.validate.manifests import Manifests

REPOSITORY = Path(__file__).resolve().parents[2]
K8S = REPOSITORY / "deploy" / "k8s"
BUILDERS = (("kustomize", "build"), ("kubectl", "kustomize"))


class BuildError(Exception):
    """There is nothing to build with, or a folder does not build; the message says which."""


def build_all(k8s: Path = K8S) -> Iterator[tuple[str, Manifests]]:
    """Names and manifests of everything that can be applied. Raises BuildError."""
    for overlay in sorted((k8s / "overlays").iterdir()):
        yield overlay.name, build(overlay)
    for component in sorted((k8s / "components").iterdir()):
        yield f"base + {component.name}", build(k8s / "base", component)


def build(folder: Path, *components: Path) -> Manifests:
    """What `kubectl apply -k` would send. Raises BuildError."""
    if not components:
        return Manifests.read(_run(folder))
    with tempfile.TemporaryDirectory() as scratch:
        # kustomize takes relative paths only, and resolves links first.
        root = Path(scratch).resolve()
        content = {
            "resources": [os.path.relpath(folder, root)],
            "components": [os.path.relpath(component, root) for component in components],
        }
        (root / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return Manifests.read(_run(root))


def _run(folder: Path) -> str:
    command = next((command for command in BUILDERS if shutil.which(command[0])), None)
    if command is None:
        raise BuildError("kustomize or kubectl is needed to build the manifests; neither is on the PATH")
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{folder} does not build: {done.stderr.strip()}")
    return done.stdout
