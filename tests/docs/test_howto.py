"""What the how-to pages show is what a run and the chart have today."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from podium.api import AttemptState, Reason, sweep_crd
from podium.api.crd import crd
from tests.cluster.fixtures import ROOT
from tests.docs.blocks import DOCS, blocks

PAGES = sorted((DOCS / "how-to").glob("*.md"))
RUN = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SWEEP = sweep_crd.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
VALUES = json.loads((ROOT / "helm/podium/values.schema.json").read_text())


def unknown(schema: dict[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """The fields of `value` that `schema` does not have."""
    if isinstance(value, list):
        for item in value:
            yield from unknown(schema.get("items", {}), item, path)
    elif isinstance(value, dict) and (fields := schema.get("properties")):
        for name, inner in value.items():
            if name in fields:
                yield from unknown(fields[name], inner, f"{path}.{name}")
            elif schema.get("additionalProperties") is not True:
                yield f"{path}.{name}"


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_runs_and_values_of_a_page_have_only_fields_that_exist(page):
    for block in blocks(page, "yaml"):
        for document in yaml.safe_load_all(block.text):
            if document.keys() <= VALUES["properties"].keys():
                assert list(unknown(VALUES, document)) == []
            elif document.keys() == {"spec"} or document.get("kind") == "BenchmarkRun":
                assert list(unknown(RUN, document)) == []
            elif document.get("kind") == "BenchmarkSweep":
                assert list(unknown(SWEEP, document)) == []
            elif "over" in document:
                assert list(unknown(SWEEP["properties"]["spec"], document)) == []
            elif "kind" not in document:
                assert list(unknown(RUN["properties"]["spec"], document)) == []


def test_a_field_that_does_not_exist_is_found():
    assert list(unknown(RUN, {"spec": {"template": {"image": "a", "host": "b"}}})) == [".spec.template.host"]
    assert list(unknown(SWEEP, {"spec": {"nodes": {"labels": {}}}})) == [".spec.nodes.labels"]
    assert list(unknown(VALUES, {"trainer": {"allow": {"images": [], "users": []}}})) == [".trainer.allow.users"]


def test_the_failure_that_the_page_shows_has_the_fields_of_the_status():
    attempt = RUN["properties"]["status"]["properties"]["attempts"]["items"]
    (shown,) = blocks(DOCS / "how-to/debug.md", "json")
    assert list(unknown(attempt, json.loads(shown.text))) == []


def test_every_reason_that_an_alert_fires_for_is_in_its_table():
    section = (DOCS / "how-to/alerts.md").read_text().partition("\n## PodiumAttemptFailing\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    listed = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    fired = {str(reason) for reason in Reason if reason.state in (AttemptState.FAILED, AttemptState.INVALID)}
    assert listed == fired


def test_every_list_of_the_chart_is_explained():
    text = (DOCS / "how-to/allow.md").read_text()
    lists = VALUES["properties"]["trainer"]["properties"]["allow"]["properties"]
    assert [name for name in lists if f"`{name}`" not in text] == []
