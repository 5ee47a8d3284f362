"""What Prometheus reads."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from podium.metrics import Metrics, run_sample
from podium.rules import goal_for
from podium.suites import load_suites
from tests.unit.reconcile import examples as ex

SUITES = load_suites()
LOG = ex.log(
    (5, "train_samples", 1000),
    (20, "run_start", (None, {"max_epochs": 10})),
    (50, "tracked_stats", ({"throughput": 100.0}, {"epoch_num": 2, "samples_count": 2000})),
    (60, "eval_accuracy", (0.55, {"epoch_num": 2})),
)


def page(*runs, now=70):
    samples = [
        run_sample(run, ex.observed(ex.job(ex.running(0), ex.running(1)), LOG), goal_for(run.spec, SUITES), ex.T0 + now)
        for run in runs
    ]
    return Metrics(lambda: samples, lambda: 0).page().decode()


def series(text):
    return {
        (sample.name, sample.labels.get("state") or sample.labels.get("metric")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("run") == "digits"
    }


TRAINING = ex.run(ex.status(ex.attempt(1, "Training")))


def test_a_run_in_training():
    values = series(page(TRAINING))
    expected = {
        ("podium_run_attempt", None): 1,
        ("podium_run_epoch", None): 2,
        ("podium_run_samples_processed", None): 2000,
        ("podium_run_samples_per_second", None): 100,
        ("podium_run_progress_ratio", None): 0.2,
        ("podium_run_elapsed_seconds", None): 50,
        ("podium_run_eta_seconds", None): 70,  # 8,000 samples at 100/s from second 60 on
        ("podium_run_quality", "top1"): 0.55,
        ("podium_run_quality_target", "top1"): 0.9,
        ("podium_run_attempts", "Training"): 1,
        ("podium_run_attempts", "Failed"): 0,
    }
    assert {name: values[name] for name in expected} == expected


def test_the_series_go_with_the_run():
    assert 'run="digits"' in page(TRAINING)
    assert 'run="digits"' not in page()


def test_names_and_labels_are_as_prometheus_wants_them():
    for family in text_string_to_metric_families(page(TRAINING)):
        assert re.fullmatch(r"podium_[a-z0-9_]+", family.name)
        assert family.documentation
        for sample in family.samples:
            assert not {"uid", "pod", "image"} & set(sample.labels)
            assert family.type != "counter" or sample.name.endswith(("_total", "_created"))
