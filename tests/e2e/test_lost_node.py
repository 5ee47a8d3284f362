"""A machine of a run is lost: its kubelet stops, as when its network or its power fails."""

from __future__ import annotations

import json
import time

import pytest

from tests.cluster.parts import until
from tests.e2e.conftest import LOST_SECONDS, TOLERATED_SECONDS
from tests.e2e.programs import benchmark_run, training
from tests.e2e.run_queries import Bucket, attempts, condition, ended, wait_for

INDEX = "batch.kubernetes.io/job-completion-index"


@pytest.fixture
def lost(node):
    """The second of the nodes; a test that has lost it gets it back."""
    if node is None:
        pytest.skip("KUBECONFIG is set: a node is stopped only if the tests have started it")
    second = node.kubelets[1]
    yield second
    second.start()
    second.wait_ready()


@pytest.mark.timeout(400)
def test_a_lost_node_ends_the_try_as_a_disruption_that_names_it(lost, kubectl, namespace, operator, s3):
    operator.start()
    two = {"name": "two-cpu-nodes", "nodes": 2}
    run = benchmark_run("lossy", training(200, again=10), system=two, maxRetries=1)
    kubectl("cordon", lost.name)
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run)
    until(lambda: placed(kubectl, namespace).get("0") == "node-1", 60, "rank 0 is on the first node")
    kubectl("uncordon", lost.name)
    wait_for(kubectl, namespace, "lossy", "it trains", trains, 90)
    nodes = placed(kubectl, namespace)
    assert nodes == {"0": "node-1", "1": lost.name}
    lost.kill()
    began = time.monotonic()

    failed = lambda run: attempts(run)[0][2] == "Failed"  # noqa: E731
    run = wait_for(kubectl, namespace, "lossy", "the try has failed", failed, LOST_SECONDS + TOLERATED_SECONDS + 15)
    print(f"seconds from the loss to the failure: {time.monotonic() - began:.0f}")
    assert run["status"]["attempts"][0]["reason"] == "NodeLost", run["status"]
    failure = run["status"]["attempts"][0]["failure"]
    assert (failure["class"], failure["node"]) == ("disruption", lost.name), failure
    assert failure["pod"].startswith(f"{run['status']['attempts'][0]['job']}-1-"), "it names the pod of rank 1"
    assert lost.name in run["status"]["attempts"][0]["message"]

    lost.start()
    run = wait_for(kubectl, namespace, "lossy", "the second try has ended", ended, 150)
    assert condition(run, "Complete")["status"] == "True", run["status"]
    assert [a[:3] for a in attempts(run)] == [(1, 0, "Failed"), (1, 1, "Converged")]
    assert "NodeLost" in run["status"]["attempts"][1]["again"]
    stored = Bucket(s3, run["status"]["result"]["uri"])
    assert stored.verify() == run["status"]["result"]["sha256"]
    (first,) = [t for t in stored.json("result.json")["attempts"] if t["try"] == 0]
    assert first["failure"]["node"] == lost.name


def placed(kubectl, namespace):
    """Ranks and their nodes."""
    pods = json.loads(kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]
    return {pod["metadata"]["annotations"][INDEX]: pod["spec"].get("nodeName") for pod in pods}


def trains(run):
    return any(attempt[2] == "Training" for attempt in attempts(run))
