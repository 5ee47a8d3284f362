"""Objects as anybody with rights in a namespace may make them, on a real API server: the operator goes on."""

from __future__ import annotations

import json

import pytest

from tests.api.test_crd import OPEN, run
from tests.api.test_operator import readiness, replicas  # noqa: F401 - a fixture
from tests.cluster.parts import until

INDEX = "batch.kubernetes.io/job-completion-index"
ODD_INDEXES = ["x", "-1", "9" * 4000, "\x1b]0;owned\x07", "", "0"]
JUNK = {
    "kopf.zalando.org/last-handled-configuration": "{",
    "kopf.zalando.org/run_changed": '{"started": "never", "retries": "x"}',
    "kopf.zalando.org/touch-dummy": "\u202e\u0001",
    "podium.dev/run-uid": "[/red]",
}
ATTEMPT = {"index": 1, "try": 0, "state": "Training", "seed": 1, "job": "../x", "createdTime": "yesterday"}
STATUSES = [
    {"attempts": [ATTEMPT]},
    {"attempts": [{**ATTEMPT, "index": 10**17, "createdTime": "9999-12-31T23:59:59Z"}]},
    {"attempts": [{**ATTEMPT, "state": "Converged", "timeToTrainSeconds": "1e999", "energyJoules": "nan"}]},
    {"score": {"timeToTrainMinutes": "nan", "valid": True, "official": True}, "result": {"uri": "\x1b[2J", "sha256": ""}},
    {"progress": {"attempt": "\u202e", "samples": 2**62, "eta": "-1"}},
]  # fmt: skip


def pod(name, uid, owner, index):
    """A pod that claims to be rank 0 of a run."""
    labels = {"podium.dev/run-uid": uid, "podium.dev/attempt": "1", "podium.dev/try": "0"}
    owners = [{"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": owner, "controller": True}]
    metadata = {"name": name, "labels": labels, "annotations": {INDEX: index}, "ownerReferences": owners}
    spec = {"containers": [{"name": "trainer", "image": "busybox"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


FORGED = [("0", "0"), ("9", "0"), ("1", "9"), ("99999999999999999999", "0")]  # attempt and try


def forged_job(name, uid, attempt, try_):
    """A Job that claims to be a try of a run, as the operator names and labels it."""
    labels = {"podium.dev/run-uid": uid, "podium.dev/attempt": attempt, "podium.dev/try": try_}
    owner = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "name": name, "uid": uid}
    metadata = {"name": f"podium-{name}-{attempt}-{try_}", "labels": labels, "ownerReferences": [owner]}
    spec = {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "busybox"}]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": spec}}}


@pytest.fixture
def apply(kubectl, namespace):
    def create(*objects):
        document = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(document))

    return create


def test_hostile_objects_stop_nothing(kubectl, namespace, replicas, apply):  # noqa: F811
    operator = replicas[0]
    operator.start()
    until(lambda: readiness(operator) == "leading", 20, "the operator leads")

    def jobs():
        return kubectl("-n", namespace, "get", "jobs", "-o", "name")

    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "victim"))
    until(lambda: "podium-victim-1-0" in jobs(), 20, "a Job for the run")
    uid = kubectl("-n", namespace, "get", "benchmarkrun", "victim", "-o", "jsonpath={.metadata.uid}")
    job = kubectl("-n", namespace, "get", "job", "podium-victim-1-0", "-o", "jsonpath={.metadata.uid}")
    apply(*(pod(f"odd-{n}-{m}", uid, owner, index) for n, owner in enumerate((job, "none", uid))
            for m, index in enumerate(ODD_INDEXES)))  # fmt: skip
    apply(*(forged_job("victim", uid, *numbers) for numbers in FORGED))
    for number, status in enumerate(STATUSES):
        kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, f"odd-{number}"))
        kubectl("-n", namespace, "annotate", "benchmarkrun", f"odd-{number}",
                *(f"{key}={value}" for key, value in JUNK.items()))  # fmt: skip
        patch = json.dumps({"status": status})
        kubectl("-n", namespace, "patch", "benchmarkrun", f"odd-{number}", "--subresource=status", "--type=merge",
                "-p", patch)  # fmt: skip
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "after"))
    until(lambda: "podium-after-1-0" in jobs(), 20, "a Job for a run beside them")
    operator.kill()
    operator.start()  # it reads all of them anew
    until(lambda: readiness(operator) == "leading", 30, "the operator leads again")
    kubectl("-n", namespace, "apply", "-f", "-", stdin=run(OPEN, "later"))
    until(lambda: "podium-later-1-0" in jobs(), 20, "a Job after a restart")
    victim = ("-n", namespace, "get", "benchmarkrun", "victim", "-o")
    kubectl("-n", namespace, "patch", "benchmarkrun", "victim", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    until(lambda: "Suspended" in kubectl(*victim, "jsonpath={.status.attempts[*].reason}"), 20, "its status is written")
    assert kubectl(*victim, "jsonpath={.status.attempts[*].job}") == "podium-victim-1-0"
    log = operator.log.read_text()
    assert not {c for c in log if (ord(c) < 32 and c != "\n") or c in "\x9b\u202e"}
    assert operator.stop() == 0
