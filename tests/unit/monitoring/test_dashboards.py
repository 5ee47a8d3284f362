"""The committed dashboards and alerts: what was generated, complete in themselves, of metrics that exist."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from helm.dashboards import DASHBOARDS, render
from helm.dashboards.reading import JSON, named, panels, queries

from podium.metrics import reference
from tests.cluster.fixtures import ROOT

ALERTS = yaml.safe_load((ROOT / "helm/podium/alerts/podium.yaml").read_text())
RULES = {rule["alert"]: rule for group in ALERTS["groups"] for rule in group["rules"]}
METRIC = re.compile(r"\b(podium_\w+)")
KNOWN = {
    name
    for family in reference()
    for name in ([f"{family.name}_{part}" for part in ("bucket", "sum", "count")] if family.type == "histogram" else [family.name])
}  # fmt: skip


def model(name):
    return json.loads((JSON / f"{name}.json").read_text())


def expressions():
    for name in DASHBOARDS:
        for panel in panels(name):
            for target in panel.get("targets", ()):
                yield f"{name}: {panel['title']}", target["expr"]
    for name, rule in RULES.items():
        yield name, rule["expr"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_committed_file_is_the_generated_one(name):
    assert (JSON / f"{name}.json").read_text() == render(name), "run: make generate"


def test_every_metric_exists():
    wrong = [(where, metric) for where, text in expressions() for metric in METRIC.findall(text) if metric not in KNOWN]
    assert not wrong


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_can_be_used_as_it_is(name):
    """Whichever data source there is; the variables that its queries need are its own."""
    board = model(name)
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    needed = {*re.findall(r"\$([a-z]+)", json.dumps([p.get("targets") for p in board["panels"]]))} - {"__range"}
    assert needed <= variables.keys()
    sources = {json.dumps(p["datasource"]) for p in board["panels"] if p["type"] != "row"}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(panel["title"] and (panel["type"] == "row" or panel["description"]) for panel in board["panels"])


def test_the_dashboards_lead_to_each_other():
    assert {name: model(name)["uid"] for name in DASHBOARDS} == {
        "fleet": "podium-fleet",
        "run": "podium-run",
        "operator": "podium-operator",
    }
    for name in DASHBOARDS:
        assert model(name)["tags"] == model(name)["links"][0]["tags"] == ["podium"]
    assert "/d/podium-run?var-datasource=${datasource}" in (JSON / "fleet.json").read_text()


@pytest.mark.parametrize("alert", RULES)
def test_an_alert_says_what_to_do(alert):
    rule = RULES[alert]
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^## (.+)$", (ROOT / file).read_text(), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]


def test_a_threshold_line_is_where_its_alert_fires():
    lines = {}
    for panel in (panel for name in DASHBOARDS for panel in panels(name)):
        if "thresholdsStyle" in panel.get("fieldConfig", {}).get("defaults", {}).get("custom", {}):
            alert = re.search(r"(\w+) fires above the dashed line", panel["description"])[1]
            lines[alert] = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"]
    assert lines.keys() == {"PodiumRunStalled", "PodiumWatchDead", "PodiumResultNotStored"}
    for alert, value in lines.items():
        assert f" > {value}\n" in RULES[alert]["expr"], alert


def test_variables_are_put_in():
    panel = {"targets": [{"expr": 'rate(x{run="$run"}[$__range]) + label_replace(y, "run", "$1", "pod", "(.+)")'}]}
    (query,) = queries(panel, {"run": "r", "__range": "60s"})
    assert query.expression == 'rate(x{run="r"}[60s]) + label_replace(y, "run", "$1", "pod", "(.+)")'
    with pytest.raises(ValueError, match=r"no value for \$run"):
        list(queries(panel, {"__range": "60s"}))
    assert named("{{ state }} of {{run}}", {"state": "Failed"}) == "Failed of "
