"""A BenchmarkSweep on a real API server: its runs, its rows, and an operator that dies while it makes them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.api.test_disturbances import leads
from tests.cluster import kwok
from tests.cluster.controlplane import ControlPlane
from tests.cluster.fixtures import apply_crds, kubectl_for, needed_parts
from tests.cluster.parts import Operator, until
from tests.cluster.watching import PODIUM

POD_SECONDS = 40  # the operator ends them long before
LINES = [("run_start", 0), *(("tracked_stats", second) for second in range(1, 61))]
RECORDED = "".join(
    ":::MLLOG " + json.dumps({
        "namespace": "", "time_ms": 1_700_000_000_000 + 1000 * second, "event_type": "POINT_IN_TIME", "key": key,
        "value": {"throughput": 100.0}, "metadata": {"samples_count": 100 * second},
    }) + "\n"
    for key, second in LINES
)  # fmt: skip
TEMPLATE = {
    "round": "v0.6", "benchmark": "my-model", "division": "open", "attempts": 1, "quality": {"target": "0.9"},
    "measure": {"warmup": "2s", "duration": "4s"}, "system": {"name": "fake", "nodes": 1},
    "template": {"image": "own:1", "command": ["train"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """Five fake nodes, one of them cordoned, and one of another pool."""
    folder = tmp_path_factory.mktemp("sweeps")
    plane = ControlPlane(folder / "plane")
    with needed_parts():
        try:
            plane.up(scheduler=True)
            recorded = folder / "recorded.log"
            recorded.write_text(RECORDED)
            kwok.start_nodes(plane, 5, pod_seconds=POD_SECONDS, replay=recorded, live=True)
            apply_crds(plane.kubeconfig)
            plane.kubectl("label", "nodes", "fake-0", "fake-1", "fake-2", "fake-3", "pool=gpu")
            plane.kubectl("cordon", "fake-3")
            yield plane
        finally:
            plane.down()


@pytest.fixture
def operator(plane, tmp_path):
    (tmp_path / "defaults.json").write_text(json.dumps({"image": "own:1"}))
    options = ["--results-url", str(tmp_path / "results"), "--lease", "default/podium"]
    made = Operator(plane.kubeconfig, tmp_path, [*options, "--trainer-defaults", str(tmp_path / "defaults.json")], {})
    made.start()
    until(lambda: leads(made), 20, "the operator leads")
    yield made
    made.stop()


def sweep(name, **spec):
    given = {"over": "nodes", "nodes": {"selector": {"pool": "gpu"}}, "template": TEMPLATE, **spec}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkSweep", "metadata": metadata, "spec": given}


def test_every_node_is_measured_and_a_killed_operator_makes_no_run_twice(plane, operator):
    kubectl = kubectl_for(plane.kubeconfig)

    def status(name="accept.new-nodes"):
        return json.loads(kubectl("get", "benchmarksweep", name, "-o", "json")).get("status", {})

    def runs():
        return json.loads(kubectl("get", "benchmarkruns", "-o", "json"))["items"]

    kubectl("apply", "-f", "-", stdin=sweep("accept.new-nodes"))
    until(lambda: len(runs()) == 3, 30, "each node that can be used has a run")
    cordoned = next(row for row in status()["rows"] if row["name"] == "fake-3")
    assert (cordoned["verdict"], cordoned["reason"]) == ("Failed", "node fake-3 is cordoned")
    operator.kill()
    operator.start()
    until(lambda: status().get("conditions", [{}])[0].get("status") == "True", 240, "the sweep is complete")
    found = status()
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows) == {"fake-0", "fake-1", "fake-2", "fake-3"}
    for name in ("fake-0", "fake-1", "fake-2"):
        assert rows[name]["verdict"] in ("Ok", "Unsure"), rows[name]
        assert 100 < float(rows[name]["rate"]) < 1000
    made = runs()
    assert sorted(run["metadata"]["name"] for run in made) == sorted(
        name for row in rows.values() for name in row["runs"]
    )
    for run in made:
        assert run["status"]["attempts"][0]["state"] == "Measured", run["status"]["attempts"]
        row = run["metadata"]["annotations"]["podium.dev/sweep-row"]
        assert run["spec"]["template"]["affinity"]["nodeAffinity"], row
    content = Path(urlsplit(found["result"]["uri"]).path).read_bytes()
    assert hashlib.sha256(content).hexdigest() == found["result"]["sha256"]
    stored = json.loads(content)
    assert stored["rows"] == found["rows"]
    results = {run["metadata"]["name"]: run["status"]["result"] for run in made}
    assert {run["name"]: run["result"] for run in stored["runs"]} == results
    command = [PODIUM, "sweep", "report", "accept.new-nodes", "--namespace", "default", "--json"]
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
    reported = json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)
    assert (reported["findings"], reported["sha256"]) == ([], found["result"]["sha256"]), (
        "the verdicts follow from the rates"
    )
    shown = kubectl("get", "benchmarksweeps")
    assert shown.split()[:8] == ["NAME", "OVER", "ROWS", "RUNNING", "OK", "SLOW", "FAILED", "UNSURE"]
    kubectl("delete", "benchmarksweep", "accept.new-nodes")
    until(lambda: not runs(), 30, "its runs are deleted with it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"over": "nodeCounts"}, "set the list that it names"),
        ({"nodeCounts": [1, 2]}, "set the list that it names"),
        ({"parallel": 0}, "should be greater than or equal to 1"),
    ],
)
def test_the_api_server_refuses_a_sweep_without_one_list(plane, change, message):
    assert message in kubectl_for(plane.kubeconfig)("apply", "-f", "-", stdin=sweep("wrong", **change), refused=True)


def test_a_template_that_no_run_may_have_is_named(plane, operator):
    kubectl = kubectl_for(plane.kubeconfig)
    kubectl("apply", "-f", "-", stdin=sweep("typo", template={**TEMPLATE, "flavor": "red"}))
    kubectl("wait", "benchmarksweep/typo", "--for=condition=Failed", "--timeout=30s")
    path = 'jsonpath={.status.conditions[?(@.type=="Failed")].message}'
    assert kubectl("get", "benchmarksweep", "typo", "-o", path) == "spec.template.flavor: unknown field"
