"""A queue takes the machines of a Job and gives it others while no operator runs. Its pods are fake."""

from __future__ import annotations

import json

import pytest

from tests.api.test_crd import run
from tests.api.test_disturbances import SPEC, leads
from tests.cluster.parts import until

QUEUED = {**SPEC, "attempts": 1, "maxRetries": 0, "queueName": "nobody"}


@pytest.mark.timeout(240)
def test_a_try_whose_pod_was_replaced_unseen_is_repeated_free_of_charge(cluster):
    """The log of the second pod is not added to that of the first, and nothing but the queue is blamed."""

    def admit(name, *, suspend=False):
        patch = json.dumps({"spec": {"suspend": suspend}})
        until(lambda: name in cluster.kubectl("get", "jobs", "-o", "name"), 30, f"the Job {name} exists")
        cluster.kubectl("patch", "job", name, "--type=merge", "-p", patch)

    def pods():
        items = json.loads(cluster.kubectl("get", "pods", "-o", "json"))["items"]
        return [(pod["metadata"]["name"], pod["status"]["phase"]) for pod in items]

    def status():
        return cluster.runs()[0].get("status", {})

    operator = cluster.operator("operator")
    try:
        operator.start()
        until(lambda: leads(operator), 20, "the operator leads")
        cluster.kubectl("apply", "-f", "-", stdin=run(QUEUED, "queued"))
        admit("podium-queued-1-0")
        until(lambda: list(cluster.results.glob("default/queued-*/checkpoints-*")), 30, "its log is saved")
        operator.kill()
        (before,) = pods()
        admit("podium-queued-1-0", suspend=True)
        until(lambda: not pods(), 30, "the pod is gone")
        admit("podium-queued-1-0")
        until(lambda: pods() and pods()[0][1] == "Running", 30, "another one runs")
        assert pods()[0][0] != before[0]
        operator.start()
        until(lambda: status()["attempts"][0]["state"] == "Failed", 60, "the try has ended")
        admit("podium-queued-1-1")
        until(lambda: status().get("result"), 60, "the run has ended")
    finally:
        operator.stop()
    tries = [(one["try"], one["state"], one["reason"]) for one in status()["attempts"]]
    assert tries == [(0, "Failed", "Preempted"), (1, "Converged", "TargetReached")]
    (folder,) = cluster.results.glob("default/queued-*")
    starts = [path.read_text().count('"run_start"') for path in sorted(folder.glob("attempts/001/**/result.txt"))]
    assert starts == [1, 1]
