"""Every query of the dashboards and every alert, against a real Prometheus that has scraped real runs."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from helm.dashboards import DASHBOARDS
from helm.dashboards.picture import Source, page, screenshot
from helm.dashboards.reading import panels, queries

from tests.cluster.fixtures import ROOT, needed_parts
from tests.cluster.images import TRAINER
from tests.cluster.parts import Prometheus, until
from tests.e2e.gpus import GpuExporter
from tests.e2e.run_queries import attempts, condition, ended, wait_for

RULES = ROOT / "helm/podium/alerts/podium.yaml"
GPU = "amd.com/gpu"
# A custom image that reports energy, evaluates once and then hangs.
HANGS = """
import json, time
def say(key, value=None, **metadata):
    body = {"namespace": "", "time_ms": int(time.time() * 1000), "event_type": "POINT_IN_TIME", "key": key}
    print(":::MLLOG", json.dumps({**body, "value": value, "metadata": {"file": "mine.py", "lineno": 1, **metadata}}), flush=True)
say("train_samples", 1000)
say("run_start", max_epochs=10)
say("tracked_stats", {"throughput": 500.0, "energy_joules": 4200.0}, epoch_num=1, samples_count=1000)
say("eval_start")
time.sleep(0.5)
say("eval_stop")
say("eval_accuracy", 0.4, epoch_num=1)
time.sleep(600)
"""


def run(name, **spec):
    document = {
        "round": "v0.6",
        "division": "open",
        "preset": "tiny",
        "quality": {"target": "0.9"},
        "maxRetries": 0,
        "pricing": {"perNodeHour": "98.32", "currency": "USD"},
        **spec,
    }
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "metadata": {"name": name}, "spec": document}


def accelerated(nodes):
    return {"name": "gpu-nodes", "nodes": nodes, "acceleratorsPerNode": 1, "acceleratorResource": GPU}


@pytest.fixture
def gpus(kubectl):
    """Four of an extended resource on each node, as a device plugin would announce them."""
    nodes = kubectl("get", "nodes", "-o", "name").split()
    path = GPU.replace("/", "~1")

    def patch(*operations):
        for node in nodes:
            lists = [
                {"path": f"/status/{field}/{path}", **o} for o in operations for field in ("capacity", "allocatable")
            ]
            kubectl("patch", node, "--subresource=status", "--type=json", "-p", re.sub("'", '"', str(lists)))

    patch({"op": "add", "value": "4"})
    yield
    patch({"op": "remove"})


@pytest.fixture
def impatient_rules(tmp_path):
    """The alerts, firing after seconds instead of minutes."""
    text, thresholds = re.subn(r"> (600|1800)\b", "> 4", RULES.read_text())
    text, waits = re.subn(r"for: \dm", "for: 0s", text)
    assert (thresholds, waits) == (3, 4)
    file = tmp_path / "impatient.yaml"
    file.write_text(text)
    return file


@pytest.fixture
def exporter(kubectl, namespace):
    served = GpuExporter(kubectl, namespace, renamed="hangs")
    yield served
    served.stop()


@pytest.fixture
def prometheus(operator, exporter, impatient_rules, tmp_path):
    targets = operator.url.removeprefix("http://"), exporter.address
    server = Prometheus(tmp_path / "prometheus", *targets, rules=[impatient_rules])
    with needed_parts():
        server.start()
    yield server
    server.stop()


def fires(prometheus, alert, seconds, **labels):
    """The annotations of an alert once it fires."""

    def firing():
        found = prometheus.get("alerts")["alerts"]
        return [
            a["annotations"]
            for a in found
            if a["state"] == "firing" and {"alertname": alert, **labels}.items() <= a["labels"].items()
        ]

    return until(firing, seconds, f"{alert} fires for {labels}")[0]


def test_the_alerts_fire_and_do_not_fire():
    command = ["promtool", "test", "rules", Path(__file__).with_name("alerts_test.yaml")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("gpus")
def test_dashboards_and_alerts_have_data(kubectl, namespace, operator, prometheus, s3, tmp_path):
    """Two runs, one that converges during an outage of the store, and one that hangs and loses its pod."""
    began = time.time()
    operator.start()
    until(lambda: prometheus.query("podium_leader == 1"), 15, "the operator is scraped")
    hangs = {"template": {"image": TRAINER, "command": ["python3", "-c", HANGS]}, "benchmark": "my-model"}
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run("hangs", attempts=1, system=accelerated(1), **hangs))

    alert = fires(prometheus, "PodiumRunStalled", 90, run="hangs", namespace=namespace)
    assert alert["summary"] == f"Run {namespace}/hangs is training but has printed nothing for half an hour"
    kubectl("-n", namespace, "delete", "pod", "-l", "podium.dev/run=hangs", "--wait=false")
    fires(prometheus, "PodiumAttemptFailing", 60, run="hangs", state="Failed")

    s3.stop()
    try:
        digits = run("digits", attempts=2, benchmark="resnet", system=accelerated(2))
        kubectl("-n", namespace, "apply", "-f", "-", stdin=digits)

        def converged(run):
            return [try_[2] for try_ in attempts(run)][:1] == ["Converged"]

        wait_for(kubectl, namespace, "digits", "its first attempt ends", converged, 120)
        alert = fires(prometheus, "PodiumResultNotStored", 60, run="digits")
        assert "do not delete the run" in alert["description"]
        until(lambda: prometheus.query('podium_result_upload_total{result="error"} > 0'), 30, "an upload has failed")
    finally:
        s3.start()
    finished = wait_for(kubectl, namespace, "digits", "the run is Complete", ended, 180)
    assert condition(finished, "Complete")["status"] == "True", finished["status"]
    wait_for(kubectl, namespace, "hangs", "the other run has failed", ended, 60)
    until(lambda: prometheus.query("podium_run_time_to_train_seconds"), 15, "the score is scraped")
    fires(prometheus, "PodiumWatchDead", 60)

    check_panels(prometheus, namespace, began)
    check_totals(prometheus, namespace, finished)
    draw(prometheus, namespace, began, tmp_path)
    operator.stop()
    fires(prometheus, "PodiumOperatorNotLeading", 30)
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    over = {rule["name"] for rule in rules if rule["state"] != "firing"}
    assert over == {"PodiumRunStalled", "PodiumResultNotStored", "PodiumWatchDead"}, "alerts end with their cause"


def check_panels(prometheus, namespace, began):
    """Each query has had data at some time, for one of the two runs or for both."""
    time.sleep(3)  # the rates want a few scrapes after the last event
    source = Source(prometheus.url, began, time.time())
    without, asked = [], 0
    for name in DASHBOARDS:
        for panel in panels(name):
            for letter, query in enumerate(queries(panel, {"run": "(digits|hangs)", **every(namespace)})):
                asked += 1
                found = source.read(query.expression.replace('run="(', 'run=~"('))
                if not any(points for _, points in found):
                    without.append((name, panel["title"], letter, query.expression))
    assert not without
    assert asked > 50


def every(namespace):
    return {"namespace": namespace, "benchmark": ".*", "job": ".*", "__range": "10m", "__rate_interval": "10s"}


def check_totals(prometheus, namespace, finished):
    """The counters against what else is known of the same runs."""

    def value(expression):
        return float(prometheus.query(expression)[0]["value"][1])

    held = value(f'sum(podium_accelerator_seconds_total{{namespace="{namespace}", benchmark="resnet"}})')
    digits = value(f'podium_run_accelerator_seconds{{namespace="{namespace}", run="digits"}}')
    assert 0 <= held - digits < 2 * 5, "the end of two containers is seen seconds later, and totals never decrease"
    trained = sum(float(a["timeToTrainSeconds"]) for a in finished["status"]["attempts"])
    assert 2 * trained < held < 2 * trained + 2 * 2 * 60, "two pods, while they train, start and leave"
    cost = value(f'sum(podium_cost_total{{namespace="{namespace}", benchmark="resnet"}})')
    assert cost == pytest.approx(held / 3600 * 98.32, rel=1e-6)
    assert value("sum(podium_energy_joules_total)") == 4200
    for number, attempt in enumerate(finished["status"]["attempts"], 1):
        shown = value(f'podium_run_attempt_time_to_train_seconds{{run="digits", attempt="{number}"}}')
        assert shown == float(attempt["timeToTrainSeconds"])


def draw(prometheus, namespace, began, tmp_path):
    """The pictures of the documentation can be drawn."""
    source = Source(prometheus.url, began, time.time())
    text, height = page("run", source, {"run": "digits", **every(namespace)})
    for word in ("attempt 2", "target top1", "<polyline", "<polygon"):
        assert word in text, word
    screenshot(text, height, tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
