"""``podium sweep`` against a real API server, in the place of whose operator the test writes the status."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess

import pytest
import yaml

from podium.api.sweep import BenchmarkSweepStatus, SweepResult
from podium.reconcile.sweep import ended_sweep, failed_sweep
from tests.cluster.watching import PODIUM, watches
from tests.unit.reconcile.test_sweep import TEMPLATE, World, node, sweep
from tests.unit.report.sweeps import stored

SPEC = {"over": "nodes", "nodes": {"selector": {"pool": "gpu-new"}}, "template": TEMPLATE}


@pytest.fixture
def file(tmp_path, namespace):
    """A file with a sweep."""
    body = {
        "apiVersion": "podium.dev/v1alpha1",
        "kind": "BenchmarkSweep",
        "metadata": {"name": "new.nodes"},
        "spec": SPEC,
    }
    path = tmp_path / "new-nodes.yaml"
    path.write_text(yaml.safe_dump(body))
    return path


@pytest.fixture
def podium(kubeconfig, tmp_path):
    """Runs ``podium sweep`` to its end; gives exit code, what it printed, and its errors."""

    def run(*words):
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "COLUMNS": "200"}
        command = [str(PODIUM), "sweep", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def watch(kubeconfig, tmp_path):
    """Starts ``podium sweep watch``."""
    with watches(kubeconfig, tmp_path, verb=("sweep", "watch")) as start:
        yield start


@pytest.fixture
def patch(kubectl, namespace):
    """Writes the status of the sweep, as the operator would."""

    def write(status):
        body = yaml.safe_dump({"status": status.model_dump(mode="json", by_alias=True, exclude_none=True)})
        kubectl(
            "-n", namespace, "patch", "benchmarksweep/new.nodes", "--subresource=status", "--type=merge", "-p", body
        )

    return write


def world(slow=0.9, cordoned=1):
    """Twelve nodes, of which one is slow and the last is cordoned."""
    nodes = [node(f"gpu-{index:02}") for index in range(12 - cordoned)]
    nodes += [node("gpu-11", problem="node gpu-11 is cordoned")] * cordoned
    return World(sweep(), nodes, lambda row: 2450.0 * (slow if row == "gpu-03" else 1.0), 0.004)


def ended(folder, made=None):
    """The status of a sweep whose result is in `folder`."""
    made = made or world()
    for _ in range(100):
        decision = made.step()
        if decision.end:
            break
        made.finish()
    content = stored(made)
    (folder / "sweep.json").write_bytes(content)
    result = SweepResult(uri=f"{folder.as_uri()}/sweep.json", sha256=hashlib.sha256(content).hexdigest())
    return ended_sweep(made.sweep, decision.end, result, 1.0)


def test_a_sweep_is_started_watched_and_reported(podium, watch, patch, kubectl, namespace, file, tmp_path):
    assert podium("start", file, "-n", namespace) == (0, "new.nodes\n", "")
    created = json.loads(kubectl("-n", namespace, "get", "benchmarksweep", "new.nodes", "-o", "json"))
    assert created["spec"]["nodes"]["selector"] == {"pool": "gpu-new"}
    watching = watch("new.nodes", "-n", namespace)
    watching.sees("waiting for the operator")
    code, _, said = podium("report", "new.nodes", "-n", namespace)
    remedy = "follow it with podium sweep watch new.nodes"
    assert (code, said) == (2, f"podium: new.nodes has no result yet (waiting for the operator); {remedy}\n")
    made = world()
    patch(made.step().status)
    watching.sees("gpu-11: Failed: node gpu-11 is cordoned", "1 of 12 rows are measured: 1 failed")
    patch(made.step().status)
    watching.sees("1 of 12 rows are measured: 11 running, 1 failed")
    patch(ended(tmp_path, made))
    output = watching.ends(1)
    assert "gpu-03: Slow: " in output
    assert "Complete: 10 ok, 1 slow, 1 failed\n" in output
    assert output.splitlines()[-1] == f"Result: {tmp_path.as_uri()}/sweep.json"
    assert output.count("gpu-11: Failed") == 1
    table = output[output.index("Row ") :].splitlines()
    assert [line.split()[:2] for line in table[1:3]] == [["gpu-11", "Failed"], ["gpu-03", "Slow"]]
    code, said, _ = podium("report", "new.nodes", "-n", namespace, "--out", tmp_path / "page.html")
    assert (code, said.splitlines()) == (0, [str(tmp_path / "page.html"), "1 of 12 nodes is slow; 1 failed"])
    assert "<h1>1 of 12 nodes is slow; 1 failed</h1>" in (tmp_path / "page.html").read_text()
    (tmp_path / "sweep.json").write_bytes((tmp_path / "sweep.json").read_bytes() + b"\n")
    code, said, _ = podium("report", "new.nodes", "-n", namespace, "--out", tmp_path / "page.html")
    assert (code, "is not the file that the status of the sweep names" in said) == (1, True)
    (tmp_path / "sweep.json").unlink()
    code, _, said = podium("report", "new.nodes", "-n", namespace)
    assert (code, f"{tmp_path.as_uri()}/sweep.json: no such file" in said) == (2, True), said


def test_a_fleet_without_outliers_ends_with_0(podium, watch, patch, namespace, file, tmp_path):
    podium("start", file, "-n", namespace)
    patch(ended(tmp_path, world(slow=1.0, cordoned=0)))
    output = watch("new.nodes", "-n", namespace).ends(0)
    assert output.splitlines() == ["Complete: 12 ok", f"Result: {tmp_path.as_uri()}/sweep.json"]


def test_a_program_reads_a_document_a_line(podium, watch, patch, namespace, file, tmp_path):
    code, said, _ = podium("start", file, "-n", namespace, "--json")
    assert (code, json.loads(said)) == (0, {"namespace": namespace, "name": "new.nodes"})
    patch(ended(tmp_path))
    events = [json.loads(line) for line in watch("new.nodes", "-n", namespace, "--json").ends(1).splitlines()]
    assert [(event["event"], event["status"]["counts"]["slow"]) for event in events] == [("status", 1)]


def test_a_sweep_that_failed_says_why_and_goes_on_when_it_is_corrected(podium, watch, patch, kubectl, namespace, file):
    podium("start", file, "-n", namespace)
    status = failed_sweep(sweep(BenchmarkSweepStatus()), "spec.template.flavor: unknown field", 1.0)
    patch(status)
    output = watch("new.nodes", "-n", namespace).ends(1)
    assert output == "Failed: InvalidSpec: spec.template.flavor: unknown field\n"
    kubectl("-n", namespace, "patch", "benchmarksweep/new.nodes", "--type=merge", "-p", '{"spec": {"parallel": 3}}')
    watching = watch("new.nodes", "-n", namespace)
    watching.sees("InvalidSpec")
    assert watching.process.poll() is None, "the operator has not looked at the new spec"


def test_a_sweep_that_is_deleted_ends_it(podium, watch, kubectl, namespace, file):
    podium("start", file, "-n", namespace)
    watching = watch("new.nodes", "-n", namespace)
    watching.sees("waiting for the operator")
    kubectl("-n", namespace, "delete", "benchmarksweep", "new.nodes")
    assert "new.nodes was deleted before it ended" in watching.ends(1)


def test_ctrl_c_leaves_the_sweep_alone(podium, watch, kubectl, namespace, file):
    podium("start", file, "-n", namespace)
    watching = watch("new.nodes", "-n", namespace)
    watching.sees("waiting for the operator")
    watching.process.send_signal(signal.SIGINT)
    assert "the sweep continues; to stop it: kubectl delete benchmarksweep new.nodes" in watching.ends(130)
    kubectl("-n", namespace, "get", "benchmarksweep", "new.nodes")


def test_what_cannot_be_started_says_why(podium, namespace, file):
    assert podium("start", file, "-n", namespace)[0] == 0
    code, _, said = podium("start", file, "-n", namespace)
    again = "choose another name, or kubectl delete benchmarksweep new.nodes first"
    assert (code, said) == (2, f"podium: namespace {namespace} already has a BenchmarkSweep new.nodes; {again}\n")
    code, _, said = podium("start", file, "-n", "nowhere")
    assert (code, said) == (2, "podium: there is no namespace nowhere; kubectl get namespaces lists them\n")
    text = file.read_text()
    file.write_text(text.replace("round: v0.6", "round: v0.66"))
    code, _, said = podium("start", file, "-n", namespace)
    assert (code, "spec.template.round: " in said) == (2, True), said
    file.write_text(text.replace("name: new.nodes", "name: new.nodes\n  namespace: other"))
    code, _, said = podium("start", file, "-n", namespace)
    assert (code, f"metadata.namespace is other, not {namespace}" in said) == (2, True), said
    file.write_text(text.replace("name: new.nodes", "labels: {}"))
    assert "metadata.name is missing" in podium("start", file, "-n", namespace)[2]
    file.write_text(text.replace("name: new.nodes", "name: new.nodes\n  annotations: {since: 2026-01-01}"))
    assert "date is not JSON serializable; quote it" in podium("start", file, "-n", namespace)[2]
    file.write_text(text.replace("name: new.nodes", "name: New_Nodes"))
    assert "refused the request" in podium("start", file, "-n", namespace)[2]


def test_what_is_not_there_is_named(podium, namespace):
    code, _, said = podium("watch", "none", "-n", namespace)
    listed = "kubectl get benchmarksweeps --all-namespaces lists all of them"
    assert (code, said) == (2, f"podium: namespace {namespace} has no BenchmarkSweep none; {listed}\n")
    assert podium("report", "none", "-n", namespace)[2] == said
