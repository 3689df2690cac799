"""Checks that this machine can serve, and says what to do where it cannot."""

import importlib.metadata
import importlib.util
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from cli.bundle import REPOSITORY, BundleError, check_bundle
from cli.ports import is_free

REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[.*\])?==([^\s#;]+)", re.MULTILINE)
STUBS = ("tensor", "vision", "speech", "llm")


@dataclass(frozen=True)
class Check:
    """One thing looked at, and what was found."""

    name: str
    passed: bool
    finding: str


def examine(model: Path, host: str, port: int) -> Iterator[Check]:
    """Every check, in the order in which trouble is best mended."""
    yield check_python()
    yield check_packages(REPOSITORY / "requirements.txt")
    yield check_stubs()
    yield check_model(model)
    yield check_port(host, port)


def check_python() -> Check:
    """The interpreter is new enough."""
    return Check("python", sys.version_info >= (3, 11), f"{platform.python_version()} ({sys.executable})")


def check_packages(requirements: Path) -> Check:
    """What is installed is what requirements.txt pins."""
    pins = REQUIREMENT.findall(requirements.read_text())
    wrong = [
        f"{name} {found or 'missing'}, wanted {pin}"
        for name, pin in pins
        if (found := _installed(name)) != pin
    ]
    return Check("packages", not wrong, "; ".join(wrong) or f"{len(pins)} as pinned")


def check_stubs() -> Check:
    """The contract has been compiled."""
    missing = [name for name in STUBS if not _importable(f"autoglm.{name}.v1.{name}_pb2")]
    return Check(
        "stubs", not missing, f"run `make protos`: {', '.join(missing)} missing" if missing else "generated"
    )


def check_model(folder: Path) -> Check:
    """The bundle is whole."""
    try:
        check_bundle(folder)
    except BundleError as error:
        return Check("model", False, str(error))
    return Check("model", True, str(folder))


def check_port(host: str, port: int) -> Check:
    """The gateway could listen."""
    try:
        free = is_free(host, port)
    except OSError as error:
        return Check("port", False, f"{host}:{port} cannot be bound: {error.strerror or error}")
    return Check(
        "port", free, f"{host}:{port} is {'free' if free else 'in use: stop that server or choose --port'}"
    )


def table(checks: list[Check]) -> Table:
    """The findings, one row each."""
    rows = Table("check", "", "finding", box=None)
    for check in checks:
        rows.add_row(check.name, "[green]ok[/]" if check.passed else "[red]no[/]", check.finding)
    return rows


def _installed(name: str) -> str | None:
    """Version of a package without its local part, so that `2.13.0+cpu` counts as `2.13.0`."""
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
