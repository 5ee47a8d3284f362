"""All metrics together: names, labels and help, and that adding one is one family."""

from __future__ import annotations

import asyncio
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tools.docs import metrics as documentation

from podium.api import BenchmarkRunStatus, MeasuredRate, Score
from podium.metrics import Family, Metrics, operator, reference, runs
from tests.unit.metrics.test_metrics import PODS, TRAINING, page, sample
from tests.unit.reconcile import examples as ex


def test_the_reference_lists_what_the_page_holds():
    """Names, types, labels and help, of a page on which every metric has a series."""
    scored = BenchmarkRunStatus(
        attempts=(ex.converged(1, 60, stored=False),),
        score=Score(time_to_train_minutes="1.0", valid=True, official=True),
    )
    rate = Score(rate=MeasuredRate(samples_per_second="100"), valid=True, official=False)
    measured = BenchmarkRunStatus(score=rate)
    metrics = Metrics(lambda: [sample(TRAINING), sample(ex.run(scored)), sample(ex.run(measured))], lambda: 0)
    metrics.leads(leads=True)
    metrics.occupied(TRAINING, PODS, ex.T0 + 70)
    metrics.request("GET", "jobs", 200, 0.1)
    metrics.ignored("pods", "foreign")
    found = {}
    for family in text_string_to_metric_families(asyncio.run(metrics.page()).decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for s in family.samples for label in s.labels} - {"le"}
        if name.startswith("podium_"):
            assert family.samples, name
            found[name] = (family.type, labels, family.documentation)
    assert found == {f.name: (f.type, set(f.labels), f.help) for f in reference()}


def test_names_and_labels_are_as_prometheus_wants_them():
    for family in reference():
        assert re.fullmatch(r"podium_[a-z0-9_]+", family.name)
        assert family.help.endswith(".")
        assert not {"uid", "pod", "image"} & set(family.labels)
        assert family.name.endswith("_total") == (family.type == "counter")


@pytest.mark.parametrize(
    ("module", "family", "line"),
    [
        (
            runs,
            Family("podium_run_made_up", "Nodes.", ("namespace", "run", "benchmark", "of"),
                   values=lambda sample: ((("spec",), sample.run.spec.system.nodes),)),
            'podium_run_made_up{namespace="lab",run="digits",benchmark="resnet",of="spec"} 2\n',
        ),
        (operator, Family("podium_made_up_total", "Made up.", type="counter"), "podium_made_up_total 0.0\n"),
        (operator, Family("podium_made_up", "Made up.", ("a",)), "# TYPE podium_made_up gauge\n"),
        (operator, Family("podium_made_up_seconds", "Made up.", (), "histogram", (1, 7)), 'podium_made_up_seconds_bucket{le="7.0"} 0.0\n'),
    ],
    ids=["gauge of a run", "counter", "gauge", "histogram"],
)  # fmt: skip
def test_a_metric_is_one_family(monkeypatch, module, family, line):
    """In the list of its module it is on the page and in the reference, and nothing else has to know it."""
    assert line not in page(TRAINING)
    monkeypatch.setattr(module, "FAMILIES", (*module.FAMILIES, family))
    assert line in page(TRAINING)
    assert family.name in documentation.page()
