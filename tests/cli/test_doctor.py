"""The doctor's checks."""

import importlib.metadata
import socket
from pathlib import Path

from cli.doctor import check_model, check_packages, check_port, check_python, check_stubs
from cli.ports import LOOPBACK, pick_ports


def test_this_interpreter_and_these_stubs_pass() -> None:
    assert check_python().passed
    assert check_stubs().passed


def test_packages_as_pinned_pass(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"# why\ntyper=={importlib.metadata.version('typer')}  # the command\n")
    check = check_packages(requirements)
    assert check.passed
    assert check.finding == "1 as pinned"


def test_a_local_build_of_the_pinned_version_passes(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"torch=={importlib.metadata.version('torch').partition('+')[0]}\n")
    assert check_packages(requirements).passed


def test_a_wrong_and_a_missing_package_are_named(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("typer==0.0.1\nno-such-package==1.0\n")
    check = check_packages(requirements)
    assert not check.passed
    assert "typer " in check.finding
    assert "wanted 0.0.1" in check.finding
    assert "no-such-package missing, wanted 1.0" in check.finding


def test_a_missing_model_is_reported(tmp_path: Path) -> None:
    check = check_model(tmp_path / "nowhere")
    assert not check.passed
    assert "nowhere" in check.finding


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        assert not check_port(LOOPBACK, server.getsockname()[1]).passed
    [free] = pick_ports([0])
    assert check_port(LOOPBACK, free).passed
