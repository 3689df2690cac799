"""Every check is seen to fail: on a mistake planted in a build that is sound without it."""

import copy

import pytest

from deploy.validate.rules import FIRST, THEN, check_rules
from deploy.validate.schemas import check_schemas
from tests.deploy.conftest import Builds
from tests.deploy.planting import Plant
from tests.deploy.plants import images, monitoring, network, pods, schemas, settings, wiring

PLANTS = [
    plant
    for plants in (schemas, images, settings, pods, wiring, network, monitoring)
    for plant in plants.PLANTS
]


@pytest.mark.parametrize("plant", PLANTS, ids=str)
def test_a_planted_mistake_is_found(plant: Plant, builds: Builds) -> None:
    manifests = copy.deepcopy(builds[plant.build])
    plant.change(manifests)
    if plant.rule == "schema":
        found = [("schema", problem) for problem in check_schemas(manifests)]
    else:
        found = list(check_rules(manifests))
    assert any(rule == plant.rule and plant.says in problem for rule, problem in found), found


def test_no_rule_is_without_a_planted_mistake() -> None:
    assert {rule.__name__ for rule in (*FIRST, *THEN)} <= {plant.rule for plant in PLANTS}
