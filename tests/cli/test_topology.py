"""The plan of a server."""

import socket
from pathlib import Path

import pytest

from cli import topology as planning
from cli.bundle import BundleError
from cli.child import Program
from cli.ports import LOOPBACK, HeldPorts, pick_ports
from cli.serve import curl
from cli.topology import Options, PortInUseError, Topology, share_threads
from servicekit.settings import CONFIG_VARIABLE, SettingsError

CONFIG = """
gateway: {host: 127.0.0.1, port: 0}
vision: {port: 0, health_port: 0, metrics_port: 0, drain_seconds: 3}
speech: {port: 0, health_port: 0, metrics_port: 0}
llm: {port: 0, health_port: 0, metrics_port: 0, num_threads: 7, temperature: 0.5}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def plan(options: Options) -> Topology:
    with HeldPorts() as held:
        return planning.plan(options, held)


def program(topology: Topology, name: str) -> Program:
    return next(program for tier in topology.tiers for program in tier if program.name == name)


def test_the_processes_are_told_where_the_others_listen(config: Path, bundle: Path) -> None:
    topology = plan(Options(config, bundle))
    vision, llm, gateway = (program(topology, name).environment for name in ("vision", "llm", "gateway"))
    assert llm["AUTOGLM_LLM__VISION_TARGET"] == f"{LOOPBACK}:{vision['AUTOGLM_VISION__PORT']}"
    assert gateway["AUTOGLM_GATEWAY__LLM_TARGET"] == f"{LOOPBACK}:{llm['AUTOGLM_LLM__PORT']}"
    health_port = vision["AUTOGLM_VISION__HEALTH_PORT"]
    assert gateway["AUTOGLM_GATEWAY__VISION_HEALTH_TARGET"] == f"{LOOPBACK}:{health_port}"
    assert topology.url == f"http://{LOOPBACK}:{gateway['AUTOGLM_GATEWAY__PORT']}"


def test_the_gateway_is_on_top_and_the_encoders_below(config: Path, bundle: Path) -> None:
    names = [[program.name for program in tier] for tier in plan(Options(config, bundle)).tiers]
    assert names == [["vision", "speech"], ["llm"], ["gateway"]]


def test_model_dtype_and_config_reach_the_services(config: Path, bundle: Path) -> None:
    topology = plan(Options(config, bundle, dtype="bfloat16"))
    for name in ("vision", "llm"):
        environment = program(topology, name).environment
        assert environment[f"AUTOGLM_{name.upper()}__MODEL"] == str(bundle)
        assert environment[f"AUTOGLM_{name.upper()}__DTYPE"] == "bfloat16"
        assert environment[CONFIG_VARIABLE] == str(config)
    assert "AUTOGLM_LLM__DTYPE" not in program(plan(Options(config, bundle)), "llm").environment


def test_configured_threads_and_drain_are_kept(config: Path, bundle: Path) -> None:
    topology = plan(Options(config, bundle))
    assert program(topology, "llm").environment["OMP_NUM_THREADS"] == "7"
    assert program(topology, "vision").stop_timeout_s == 8.0


def test_the_configured_inner_port_is_kept_while_it_is_free(
    config: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [port] = pick_ports([0])
    monkeypatch.setenv("AUTOGLM_VISION__PORT", str(port))
    assert plan(Options(config, bundle)).targets["vision"] == f"{LOOPBACK}:{port}"
    with socket.create_server((LOOPBACK, port)):
        assert plan(Options(config, bundle)).targets["vision"] != f"{LOOPBACK}:{port}"


def test_a_gateway_port_in_use_is_refused_with_a_way_out(config: Path, bundle: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"{LOOPBACK}:{port} is in use.*--port"):
            plan(Options(config, bundle, port=port))


def test_a_wrong_model_is_refused_by_what_is_missing(config: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"vision/config\.json"):
        plan(Options(config, tmp_path))


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        plan(Options(tmp_path / "nowhere.yaml"))


def test_a_server_on_all_interfaces_is_reached_over_loopback(config: Path, bundle: Path) -> None:
    assert plan(Options(config, bundle, host="0.0.0.0")).url.startswith(f"http://{LOOPBACK}:")


def test_an_address_of_ipv6_stands_in_brackets(config: Path, bundle: Path) -> None:
    assert plan(Options(config, bundle, host="::1")).url.startswith("http://[::1]:")


def test_a_host_of_another_machine_is_told_as_such(config: Path, bundle: Path) -> None:
    for port in (0, 8000):
        with pytest.raises(SettingsError, match="cannot be bound"):
            plan(Options(config, bundle, host="203.0.113.7", port=port))


def test_metrics_that_are_turned_off_stay_off(
    config: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOGLM_VISION__METRICS_PORT", "null")
    topology = plan(Options(config, bundle))
    assert program(topology, "vision").environment["AUTOGLM_VISION__METRICS_PORT"] == "null"
    assert program(topology, "llm").environment["AUTOGLM_LLM__METRICS_PORT"].isdecimal()


def test_https_and_keys_show_in_the_address_and_the_first_question(
    config: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Authorization" not in curl(plan(Options(config, bundle)))
    monkeypatch.setenv("AUTOGLM_GATEWAY__HTTPS", "{certificate: a.pem, key: a.key}")
    monkeypatch.setenv("AUTOGLM_GATEWAY__API_KEYS", "{file: keys}")
    topology = plan(Options(config, bundle))
    assert topology.url.startswith("https://")
    assert "Bearer $AUTOGLM_API_KEY" in curl(topology)


def test_plaintext_beyond_this_machine_is_passed_on_only_when_asked_for(config: Path, bundle: Path) -> None:
    closed, opened = (plan(Options(config, bundle, insecure=insecure)) for insecure in (False, True))
    assert "AUTOGLM_GATEWAY__INSECURE" not in program(closed, "gateway").environment
    assert program(opened, "gateway").environment["AUTOGLM_GATEWAY__INSECURE"] == "True"


@pytest.mark.parametrize(("cores", "vision", "llm"), [(1, 1, 1), (2, 1, 1), (4, 1, 3), (16, 4, 12)])
def test_cores_are_shared_out(cores: int, vision: int, llm: int) -> None:
    assert share_threads(cores, seeing=True) == {"vision": vision, "speech": vision, "llm": llm}


@pytest.mark.parametrize("cores", [1, 2, 16])
def test_a_model_that_sees_nothing_may_take_all_cores(cores: int) -> None:
    assert share_threads(cores, seeing=False)["llm"] == cores
