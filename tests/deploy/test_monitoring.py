"""Whatever the code exports is drawn and described, and nothing else is."""

import re

from cli.bundle import REPOSITORY
from deploy.validate.metrics import exported, family
from deploy.validate.rules.monitoring import alerts, asked_for, panels
from tests.deploy.conftest import Builds

PAGE = (REPOSITORY / "docs" / "monitoring.md").read_text(encoding="utf-8")
MONITORING = "base + monitoring"


def rows(pattern: str) -> list[str]:
    """First cells of the page's tables that look like this."""
    return re.findall(rf"^\| `({pattern})` \|", PAGE, re.MULTILINE)


def test_every_metric_has_its_row_in_the_documentation_and_no_other_has() -> None:
    assert sorted(rows(r"autoglm_\w+")) == sorted(exported())


def test_the_documentation_knows_the_types() -> None:
    types = dict(re.findall(r"^\| `(autoglm_\w+)` \| (\w+) \|", PAGE, re.MULTILINE))
    assert types == exported()


def test_every_metric_is_drawn(builds: Builds) -> None:
    drawn = {
        series
        for panel in panels(builds[MONITORING])
        for target in panel.get("targets", ())
        for series in asked_for(target["expr"])
    }
    types = exported()
    assert {series if series in types else family(series) for series in drawn} == set(types)


def test_panels_have_their_places(builds: Builds) -> None:
    drawn = list(panels(builds[MONITORING]))
    assert len({panel["id"] for panel in drawn}) == len(drawn) > 30
    places = [
        (x, panel["gridPos"]["y"])
        for panel in drawn
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
    ]
    assert len(set(places)) == len(places)


def test_every_alert_has_its_row_in_the_documentation_and_no_other_has(builds: Builds) -> None:
    assert rows(r"AutoGLM\w+") == [rule["alert"] for rule in alerts(builds[MONITORING])]
