"""Everything that can be applied builds and is sound; and what the overlays promise."""

import os
import re
from pathlib import Path

import pytest

from deploy.validate import __main__ as command
from deploy.validate.build import K8S, BuildError, build
from deploy.validate.rules import check_rules
from deploy.validate.schemas import check_schemas
from tests.deploy.conftest import Builds

OVERLAYS = ("cpu", "gpu-2x4090", "gpu-2x4090-dra")
COMPONENTS = ("autoscaling", "gpu", "monitoring")


@pytest.mark.parametrize("name", [*OVERLAYS, *(f"base + {name}" for name in COMPONENTS)])
def test_a_build_is_sound(name: str, builds: Builds) -> None:
    assert list(check_schemas(builds[name])) == []
    assert list(check_rules(builds[name])) == []


def test_the_components_go_together(builds: Builds) -> None:
    together = build(
        K8S / "overlays" / "cpu", K8S / "components" / "autoscaling", K8S / "components" / "monitoring"
    )
    assert list(check_schemas(together)) == []
    assert list(check_rules(together)) == []


def test_one_pod_owns_both_gpus(builds: Builds) -> None:
    [models] = [pod for pod in builds["gpu-2x4090"].pods if pod.name == "models"]
    limits = [container.spec["resources"]["limits"].get("nvidia.com/gpu") for container in models.containers]
    assert limits == [None, None, 2]
    visible = {c.process: c.environment.get("NVIDIA_VISIBLE_DEVICES") for c in models.containers}
    assert visible == {"vision": "0", "speech": "1", "llm": None}


def test_three_pods_share_one_claim(builds: Builds) -> None:
    manifests = builds["gpu-2x4090-dra"]
    used = {c.process: c.spec["resources"].get("claims") for c in manifests.containers}
    assert used == {
        "gateway": None,
        "vision": [{"name": "gpus", "request": "gpu-0"}],
        "speech": [{"name": "gpus", "request": "gpu-1"}],
        "llm": [{"name": "gpus", "request": "gpu-1"}],
    }


def test_without_a_builder_the_command_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="kustomize or kubectl is needed"):
        command.main()


def test_a_folder_that_does_not_build_is_named(builds: Builds, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    with pytest.raises(BuildError, match=f"{tmp_path} does not build: .*missing.yaml"):
        build(tmp_path)


def test_the_overlay_of_the_readme_builds(builds: Builds, tmp_path: Path) -> None:
    readme = (K8S.parent / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    here = os.path.relpath(K8S, tmp_path.resolve())
    example = example.replace("../autoglm-server/deploy/k8s", here).replace("registry.example/", "")
    (tmp_path / "kustomization.yaml").write_text(example)
    manifests = build(tmp_path)
    assert list(check_schemas(manifests)) == []
    assert list(check_rules(manifests)) == []
    maps = [document["data"] for document in manifests.of_kind("ConfigMap")]
    [settings] = [data for data in maps if "AUTOGLM_LLM__MAX_RUNNING" in data]
    assert settings["AUTOGLM_LLM__MAX_RUNNING"] == "16"
