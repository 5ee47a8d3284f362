"""A queue decides when a run may start: Kueue itself, with a quota of one CPU."""

from __future__ import annotations

import json
import time
from datetime import datetime

import pytest

from tests.cluster.fixtures import needed_parts
from tests.cluster.kueue import kueue, queue
from tests.e2e.programs import benchmark_run, training
from tests.e2e.run_queries import Bucket, attempts, condition, ended, get, wait_for

PENDING_SECONDS = 10
JOB_TIMES = (("status", "startTime"), ("metadata", "creationTimestamp"))
CPU = {"resources": {"requests": {"cpu": "1"}}}
QUEUED = {"template": CPU, "queueName": "gpu", "deadlines": {"pending": f"{PENDING_SECONDS}s", "init": "1m"}}


@pytest.fixture(scope="module")
def installed(node, tmp_path_factory):
    """Kueue while the tests of this file run."""
    if node is None:
        pytest.skip("KUBECONFIG is set: Kueue is installed on the tests' own nodes alone")
    with needed_parts(), kueue(node, tmp_path_factory.mktemp("kueue")) as kubectl:
        yield kubectl


def pods(kubectl, namespace, run):
    return kubectl("-n", namespace, "get", "pods", "-l", f"podium.dev/run={run}", "-o", "name").split()


@pytest.mark.timeout(400)
def test_a_run_waits_is_admitted_is_preempted_and_comes_back(installed, kubectl, namespace, operator, s3):
    queue(kubectl, namespace, cpus=1)
    operator.start()
    apply = lambda run: kubectl("-n", namespace, "apply", "-f", "-", stdin=run)  # noqa: E731
    apply(benchmark_run("first", training(PENDING_SECONDS + 10), **QUEUED))
    wait_for(kubectl, namespace, "first", "the first run trains", trains, 60)
    apply(benchmark_run("patient", training(60), **QUEUED))
    deadlines = {**QUEUED["deadlines"], "queued": "8s"}
    apply(benchmark_run("doomed", training(3), **{**QUEUED, "deadlines": deadlines}))

    waits = lambda run: condition(run, "Running").get("reason") == "Queued"  # noqa: E731
    wait_for(kubectl, namespace, "patient", "it is queued", waits, 15)
    doomed = wait_for(kubectl, namespace, "doomed", "it has waited too long", ended, 30)
    assert "spec.deadlines.queued" in condition(doomed, "Failed")["message"]

    first = wait_for(kubectl, namespace, "first", "the first run has ended", ended, 60)
    assert [a[:3] for a in attempts(first)] == [(1, 0, "Converged")], first["status"]
    patient = wait_for(kubectl, namespace, "patient", "it is admitted and trains", trains, 60)
    job = json.loads(kubectl("-n", namespace, "get", "job", patient["status"]["attempts"][0]["job"], "-o", "json"))
    started, created = (datetime.fromisoformat(job[part][key]) for part, key in JOB_TIMES)
    assert (started - created).seconds > PENDING_SECONDS, "it waited in the queue for longer than its pods may wait"

    apply(benchmark_run("urgent", training(5), queuePriorityClass="high", **QUEUED))
    urgent = wait_for(kubectl, namespace, "urgent", "the urgent run has ended", ended, 90)
    assert [a[:3] for a in attempts(urgent)] == [(1, 0, "Converged")], urgent["status"]
    patient = wait_for(kubectl, namespace, "patient", "it has come back and converged", ended, 200)
    assert [a[:3] for a in attempts(patient)] == [(1, 0, "Failed"), (1, 1, "Converged")], json.dumps(
        patient["status"]["attempts"]
    )
    preempted, again = patient["status"]["attempts"]
    assert (preempted["reason"], preempted["failure"]["class"]) == ("Preempted", "disruption"), preempted
    assert again["again"], "the second try says why it was made"
    assert patient["spec"]["maxRetries"] == 0, "a try that the queue ended does not count"
    assert patient["status"]["score"]["tries"] == 2
    stored = Bucket(s3, patient["status"]["result"]["uri"])
    assert stored.verify() == patient["status"]["result"]["sha256"]
    assert "attempts/001/tries/0/attempt.json" in stored.files()

    time.sleep(3)  # the quota is free: what is left of the run that failed would be admitted now
    assert pods(kubectl, namespace, "doomed") == []
    jobs = json.loads(kubectl("-n", namespace, "get", "jobs", "-l", "podium.dev/run=doomed", "-o", "json"))["items"]
    assert jobs == [] or all(job["metadata"].get("deletionTimestamp") for job in jobs)
    assert get(kubectl, namespace, "doomed")["status"] == doomed["status"]


def trains(run):
    return any(attempt[2] == "Training" for attempt in attempts(run))
