"""The images, as far as they can be checked without building them: lint, entry points, what they hold."""

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.validate.build import REPOSITORY
from deploy.validate.dockerfile import DOCKERFILE, Dockerfile
from deploy.validate.processes import PROCESSES
from deploy.validate.rules.images import image_problems

DEPLOY = REPOSITORY / "deploy"
LISTS = {name: "requirements-service.txt" for name in ("vision", "speech", "llm")} | {
    "gateway": "requirements-gateway.txt"
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SITE_PACKAGES = sysconfig.get_path("purelib")
# Imports a process where some packages are not installed.
START = """
import importlib, importlib.abc, json, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(name)

hidden = set(json.loads(sys.argv[2]))
sys.meta_path.insert(0, Hidden())
importlib.import_module(sys.argv[1] + ".__main__")
"""


def lint(text: str) -> str:
    hadolint = Path(sys.executable).with_name("hadolint")
    return subprocess.run([hadolint, "-"], input=text, capture_output=True, text=True, check=False).stdout


def test_the_dockerfile_is_clean() -> None:
    assert lint(DOCKERFILE.read_text(encoding="utf-8")) == ""


@pytest.mark.parametrize(
    ("was", "becomes", "code"),
    [
        ("FROM ${CPU_BASE} AS base-cpu", "FROM python:latest AS base-cpu", "DL3007"),
        ("FROM ${CPU_BASE} AS base-cpu", "FROM python AS base-cpu", "DL3006"),
        ("WORKDIR /app", "RUN cd /app && true", "DL3003"),
        ('ENTRYPOINT ["python", "-m", "gateway"]', "ENTRYPOINT python -m gateway", "DL3025"),
    ],
)
def test_lint_finds_a_planted_mistake(was: str, becomes: str, code: str) -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert was in text
    assert code in lint(text.replace(was, becomes))


@pytest.mark.parametrize(
    ("was", "becomes", "problem"),
    [
        ('"services.llm"]', '"services.lm"]', "starts services.lm instead of services.llm"),
        ("FROM service AS llm", "FROM service AS language", "no target llm"),
        ("COPY services/llm services/llm\n", "", "does not hold services.llm"),
        ("COPY LICENSE config.yaml ./", "COPY LICENSE ./", "does not hold config.yaml"),
        ('["python", "-m", "services.llm"]', '["autoglm", "serve"]', "starts None"),
        ("CPU_BASE=python:3.11.14-slim-bookworm", "CPU_BASE=python", "CPU_BASE=python is not pinned"),
        ("CUDA_BASE=python:3.11.14-slim-bookworm", "CUDA_BASE=python:latest", "not pinned"),
    ],
)
def test_a_planted_mistake_in_an_image_is_found(was: str, becomes: str, problem: str) -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert list(image_problems(Dockerfile.read(text), "llm")) == []
    assert was in text
    assert any(
        problem in found for found in image_problems(Dockerfile.read(text.replace(was, becomes)), "llm")
    )


def assemble(target: str, root: Path) -> None:
    """Lays out what the Dockerfile copies into an image, but for the models: imports do without."""
    for copy in Dockerfile.load().copies(target):
        for source in map(Path, copy.sources):
            place = root / copy.target
            if source.parts[0] == "models":
                continue
            if (REPOSITORY / source).is_dir():
                shutil.copytree(REPOSITORY / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / source, place)


def installed(requirements: Path) -> set[str]:
    """Distributions that pip installs for a list, those that they need included."""
    found: set[str] = set()

    def add(name: str) -> None:
        if name not in found:
            found.add(name)
            for line in requires(name) or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                    add(canonicalize_name(needed.name))

    for line in requirements.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            found |= installed(requirements.with_name(line.removeprefix("-r ")))
        elif line and not line.startswith("#"):
            add(canonicalize_name(line))
    return found


def pinned_text_packages() -> list[str]:
    """Lines of what the text reader needs."""
    lines = (REPOSITORY / "requirements-ocr.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if "==" in line]


def imported_later(root: Path) -> set[str]:
    """Top-level modules that the functions in a folder import when they are called."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in root.rglob("*.py")]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    nodes = [node for function in functions for node in ast.walk(function)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in names}


def lacking(target: str, root: Path, packages: set[str]) -> set[str]:
    """Modules that functions in an image import and none of these packages brings."""
    assemble(target, root)
    brought = {
        module
        for module, names in packages_distributions().items()
        if packages & set(map(canonicalize_name, names))
    }
    own = {"autoglm", *(path.name for path in root.iterdir())}
    return imported_later(root) - sys.stdlib_module_names - brought - own


def start(target: str, root: Path, packages: set[str]) -> str:
    """Imports a process in its image's folder, with no other packages than these; what it says of it."""
    assemble(target, root)
    hidden = [
        module
        for module, names in packages_distributions().items()
        if not packages & set(map(canonicalize_name, names))
    ]
    # Without the site module there is no editable install, through which the repository would show.
    command = [sys.executable, "-S", "-c", START, PROCESSES[target].module, json.dumps(hidden)]
    path = os.pathsep.join(map(str, (root, REPOSITORY / "protos" / "gen", SITE_PACKAGES)))
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    return done.stderr


@pytest.mark.parametrize("target", PROCESSES)
def test_an_image_holds_what_its_process_imports(target: str, tmp_path: Path) -> None:
    assert start(target, tmp_path, installed(DEPLOY / LISTS[target])) == ""


@pytest.mark.parametrize("target", PROCESSES)
def test_an_image_holds_what_its_process_may_import_later(target: str, tmp_path: Path) -> None:
    packages = installed(DEPLOY / LISTS[target])
    if target == "vision":
        packages |= {Requirement(line.partition("#")[0]).name for line in pinned_text_packages()}
    assert lacking(target, tmp_path, packages) == set()


def test_a_package_missing_for_later_is_found(tmp_path: Path) -> None:
    packages = installed(DEPLOY / LISTS["llm"]) - {"transformers"}
    assert lacking("llm", tmp_path, packages) == {"transformers"}


def test_a_package_missing_in_an_image_is_found(tmp_path: Path) -> None:
    packages = installed(DEPLOY / LISTS["gateway"]) - {"pillow"}
    assert "ModuleNotFoundError: PIL" in start("gateway", tmp_path, packages)


def test_the_gateway_image_holds_no_torch() -> None:
    assert "torch" not in installed(DEPLOY / LISTS["gateway"])


@pytest.mark.parametrize("name", ["common", "gateway", "service"])
def test_what_the_images_install_is_pinned_in_requirements(name: str) -> None:
    pinned = {
        Requirement(line.partition("#")[0]).name
        for line in (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    lines = (DEPLOY / f"requirements-{name}.txt").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if line and not line.startswith(("#", "-r "))} <= pinned


def test_everything_copied_is_in_the_build_context() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    stages = Dockerfile.load().stages.values()
    sources = [Path(source) for stage in stages for copy in stage.copies for source in copy.sources]
    outside = [
        source
        for source in sources
        if not any(path.match(pattern) for pattern in allowed for path in (source, *source.parents))
    ]
    # The folder `protos` is copied as far as it is let in: without what was generated here.
    assert outside == [Path("protos")]
