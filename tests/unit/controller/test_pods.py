"""Pods and Jobs as the API server shows them, and what is made of them."""

from __future__ import annotations

import pytest

from podium.api import TryId, unix_seconds
from podium.controller.pods import read_job, read_pod

LABELS = {"podium.dev/run-uid": "u1", "podium.dev/attempt": "2", "podium.dev/try": "1"}
RUN = {"apiVersion": "podium.dev/v1alpha1", "kind": "BenchmarkRun", "name": "digits", "uid": "u1", "controller": False}
JOB = {"apiVersion": "batch/v1", "kind": "Job", "name": "digits-2-1", "uid": "j1", "controller": True}
TERMINATED = {
    "exitCode": 0,
    "reason": "Completed",
    "startedAt": "2026-01-01T00:00:10Z",
    "finishedAt": "2026-01-01T00:01:00Z",
}


START_ERROR = {
    "exitCode": 128, "reason": "StartError", "message": 'exec: "torchrun": not found',
    "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:10Z",
}  # fmt: skip
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:10Z"}}
PREEMPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
              "message": "default-scheduler: preempting to accommodate a higher priority pod"}]  # fmt: skip
UNREACHABLE = [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]


def pod(status, **metadata):
    return {
        "metadata": {
            "name": "digits-2-1-1-abcde",
            "namespace": "lab",
            "uid": "p1",
            "labels": LABELS,
            "ownerReferences": [JOB],
            "annotations": {"batch.kubernetes.io/job-completion-index": "1"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **metadata,
        },
        "spec": {"nodeName": "node-7"},
        "status": status,
    }


def with_state(state, **status):
    return {"phase": "Running", "containerStatuses": [{"name": "trainer", "state": state}], **status}


@pytest.mark.parametrize(
    ("status", "metadata", "expected"),
    [
        ({"phase": "Pending"}, {}, {"waiting": "", "started": None}),
        (
            {"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]},
            {},
            {"waiting": "Unschedulable", "message": "0/3 nodes are available"},
        ),
        (
            with_state({"waiting": {"reason": "ErrImagePull", "message": "not found"}}, phase="Pending"),
            {},
            {"waiting": "ErrImagePull", "message": "not found"},
        ),
        (with_state({"running": {"startedAt": "2026-01-01T00:00:10Z"}}), {}, {"started": unix_seconds("2026-01-01T00:00:10Z")}),
        (with_state({"terminated": TERMINATED}), {}, {"exit_code": 0, "finished": unix_seconds("2026-01-01T00:01:00Z")}),
        (
            with_state({"terminated": {**TERMINATED, "exitCode": 137, "reason": "OOMKilled"}}),
            {},
            {"exit_code": 137, "stopped": "OOMKilled"},
        ),
        (
            with_state({"terminated": {**TERMINATED, "exitCode": 137, "reason": "Error"}}, reason="Evicted", message="disk"),
            {},
            {"stopped": "Evicted", "message": "disk"},
        ),
        (
            with_state({"terminated": {**TERMINATED, "exitCode": 143, "reason": "Error"}}),
            {"deletionTimestamp": "2026-01-01T00:01:20Z", "deletionGracePeriodSeconds": 30},
            {"exit_code": None, "stopped": "Deleted", "finished": unix_seconds("2026-01-01T00:00:50Z"), "end_reported": True},
        ),
        (  # it failed by itself, and its Job deleted it with the others
            with_state({"terminated": {**TERMINATED, "exitCode": 1, "reason": "Error"}}),
            {"deletionTimestamp": "2026-01-01T00:01:31Z", "deletionGracePeriodSeconds": 30},
            {"exit_code": 1, "stopped": "Error", "finished": unix_seconds("2026-01-01T00:01:00Z")},
        ),
        (  # many programs exit with 0 on SIGTERM
            with_state({"terminated": TERMINATED}),
            {"deletionTimestamp": "2026-01-01T00:01:30Z", "deletionGracePeriodSeconds": 30},
            {"exit_code": None, "stopped": "Deleted"},
        ),
        (  # killed by its deletion, on a node whose clock is behind
            with_state({"terminated": {**TERMINATED, "exitCode": 143, "reason": "Error"}}),
            {"deletionTimestamp": "2026-01-01T01:01:30Z", "deletionGracePeriodSeconds": 30},
            {"exit_code": None, "stopped": "Deleted"},
        ),
        (  # the kubelet adds the end of its output
            with_state({"terminated": {**TERMINATED, "exitCode": 1, "reason": "Error", "message": "step 1\nCUDA error\n"}}),
            {},
            {"exit_code": 1, "message": "", "last_output": "step 1 | CUDA error"},
        ),
        (  # what is said of one that ended well, or never ran, is no output
            with_state({"terminated": {**TERMINATED, "message": "done"}}),
            {},
            {"message": "", "last_output": ""},
        ),
        (
            with_state({"terminated": {**START_ERROR}}, phase="Failed"),
            {},
            {"last_output": "", "started": None, "exit_code": 128, "stopped": "StartError", "message": 'exec: "torchrun": not found'},
        ),
        ({"phase": "Failed", "reason": "NodeLost", "message": "node-7 is gone"}, {}, {"exit_code": None, "stopped": "NodeLost", "node_lost": True}),
        (  # its kubelet is dead: nobody will ever say that it has ended
            with_state(RUNNING, conditions=UNREACHABLE),
            {"deletionTimestamp": "2026-01-01T00:05:30Z", "deletionGracePeriodSeconds": 30},
            {"node_lost": True, "stopped": "NodeLost", "finished": unix_seconds("2026-01-01T00:05:00Z"), "exit_code": None,
             "end_reported": False},
        ),
        (with_state(RUNNING, conditions=UNREACHABLE), {}, {"node_lost": True, "finished": None}),  # it may come back
        (with_state(RUNNING, conditions=[{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]), {}, {"node_lost": False}),
        (
            with_state(RUNNING, conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]),
            {},
            {"disruption": "PreemptionByScheduler", "finished": None, "message": ""},
        ),
        (  # the scheduler's own words, for want of others
            with_state({"terminated": {**TERMINATED, "exitCode": 143}}, phase="Failed", conditions=PREEMPTED),
            {},
            {"disruption": "PreemptionByScheduler", "message": PREEMPTED[0]["message"], "exit_code": 143},
        ),
        (
            with_state({"terminated": TERMINATED}, phase="Failed", conditions=PREEMPTED, message="low on memory"),
            {},
            {"disruption": "PreemptionByScheduler", "message": "low on memory"},
        ),
        (
            {"phase": "Running", "containerStatuses": [
                {"name": "trainer", "state": {"terminated": TERMINATED}, "imageID": "r/t@sha256:1"}, {"name": "proxy", "state": RUNNING}]},
            {},
            {"exit_code": 0, "sidecar": "proxy", "image_id": "r/t@sha256:1", "uid": "p1", "node": "node-7"},
        ),
    ],
)  # fmt: skip
def test_a_pod(status, metadata, expected):
    found = read_pod(pod(status, **metadata))
    assert (found.namespace, found.run_uid, found.job_uid, found.node) == ("lab", "u1", "j1", "node-7")
    assert found.container.node_index == 1
    assert {name: getattr(found.container, name) for name in expected} == expected


def test_a_pod_that_its_kubelet_deleted_once_more_was_deleted_before():
    """With the last deletion, which comes after the container's end, the time of the first one is gone."""
    failed = with_state({"terminated": {**TERMINATED, "exitCode": 1, "reason": "Error"}})
    first = {"deletionTimestamp": "2026-01-01T00:01:29Z", "deletionGracePeriodSeconds": 30}
    last = {"deletionTimestamp": "2026-01-01T00:01:01Z", "deletionGracePeriodSeconds": 0}
    by_itself = read_pod(pod(failed, **last))
    assert (by_itself.container.stopped, by_itself.container.exit_code) == ("Error", 1)
    for earlier in (with_state(RUNNING), failed):
        seen = by_itself.after(read_pod(pod(earlier, **first))).container
        at = unix_seconds("2026-01-01T00:00:59Z")
        assert (seen.stopped, seen.exit_code, seen.deleted, seen.finished) == ("Deleted", None, at, at)
    unrelated = by_itself.after(read_pod(pod(failed)))
    assert unrelated == by_itself


INIT = {"waiting": {"reason": "PodInitializing"}}
COPIED = {**TERMINATED, "message": '{"files": 3, "bytes": 12, "seconds": 1.5, "note": "x"}'}
REFUSED = {
    **TERMINATED,
    "exitCode": 1,
    "reason": "Error",
    "message": "stage: no\nstage: s3://b: there is no such bucket",
}


def staging(state, trainer=INIT, **status):
    statuses = {"initContainerStatuses": [{"name": "stage", "state": state}]}
    return with_state(trainer, **{"phase": "Pending", **statuses, **status})


@pytest.mark.parametrize(
    ("status", "expected", "copying"),
    [
        (
            staging({"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
            {"waiting": "ErrImagePull", "started": None},
            {"started": None},
        ),
        (
            staging({"running": {"startedAt": "2026-01-01T00:00:10Z"}}),
            {"waiting": "PodInitializing", "started": None},
            {"started": unix_seconds("2026-01-01T00:00:10Z"), "finished": None},
        ),
        (
            staging({"terminated": COPIED}),
            {"waiting": "PodInitializing"},
            {"exit_code": 0, "report": {"files": 3, "bytes": 12, "seconds": 1.5}, "last_lines": ""},
        ),
        (
            staging({"terminated": COPIED}, {"running": {"startedAt": "2026-01-01T00:01:02Z"}}, phase="Running"),
            {"started": unix_seconds("2026-01-01T00:01:02Z")},
            {"finished": unix_seconds("2026-01-01T00:01:00Z")},
        ),
        (
            staging({"terminated": REFUSED}, phase="Failed"),
            {"started": None, "finished": unix_seconds("2026-01-01T00:01:00Z"), "exit_code": 1},
            {"exit_code": 1, "last_lines": REFUSED["message"], "report": {}},
        ),
        (
            staging({"terminated": {**TERMINATED, "exitCode": 137}}, phase="Failed", reason="Evicted", message="disk"),
            {"exit_code": 137, "stopped": "Evicted", "message": "disk"},
            {"exit_code": 137},
        ),
        (staging({"terminated": {**COPIED, "message": "not JSON"}}), {}, {"report": {}}),
        (staging({"terminated": {**COPIED, "message": "[" * 4096}}), {}, {"report": {}}),
        (staging({"terminated": {**COPIED, "message": '{"bytes": NaN}'}}), {}, {"report": {}}),
    ],
)
def test_a_pod_that_copies_its_data_first(status, expected, copying):
    container = read_pod(pod(status)).container
    assert {name: getattr(container, name) for name in expected} == expected
    assert {name: getattr(container.staging, name) for name in copying} == copying


@pytest.mark.parametrize(
    ("conditions", "suspend", "finished", "message"),
    [
        ([], False, "", ""),
        ([{"type": "Suspended", "status": "True"}], True, "", ""),
        ([{"type": "FailureTarget", "status": "True", "message": "soon"}], False, "", ""),
        ([{"type": "Failed", "status": "True", "message": "backoff limit"}], False, "Failed", "backoff limit"),
        ([{"type": "Complete", "status": "True"}], False, "Complete", ""),
        ([{"type": "Failed", "status": "False"}], False, "", ""),
    ],
)
def test_a_job(conditions, suspend, finished, message):
    found = read_job(job(spec={"suspend": suspend}, status={"conditions": conditions}))
    assert (found.namespace, found.run_uid, found.id, found.job.uid) == ("lab", "u1", TryId(attempt=2, number=1), "j1")
    assert (found.job.suspended, found.job.finished, found.job.message) == (suspend, finished, message)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"seed": None, "admitted": None, "queue": False, "deleting": False, "failing": "", "reason": ""}),
        (
            {"status": {"conditions": [
                {"type": "Suspended", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z"}]}},
            {"suspended_since": unix_seconds("2026-01-01T00:01:00Z")},
        ),
        (
            {"status": {"conditions": [
                {"type": "Suspended", "status": "False", "lastTransitionTime": "2026-01-01T00:01:00Z"}]}},
            {"suspended_since": None},
        ),
        ({"annotations": {"podium.dev/seed": "42"}}, {"seed": 42}),
        ({"annotations": {"podium.dev/seed": "9" * 5000}}, {"seed": None}),
        ({"annotations": {"podium.dev/seed": "-1"}}, {"seed": None}),
        ({"labels": {**LABELS, "kueue.x-k8s.io/queue-name": "gpus"}}, {"queue": True}),
        ({"deletionTimestamp": "2026-01-01T00:01:30Z"}, {"deleting": True}),
        (
            {"status": {"startTime": "2026-01-01T00:01:00Z", "conditions": [
                {"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded", "message": "soon"}]}},
            {"admitted": unix_seconds("2026-01-01T00:01:00Z"), "failing": "soon", "reason": "BackoffLimitExceeded", "finished": ""},
        ),
    ],
)  # fmt: skip
def test_what_else_a_job_says(change, expected):
    found = read_job(job(**change)).job
    assert {name: getattr(found, name) for name in expected} == expected


def job(spec=None, status=None, **metadata):
    return {
        "metadata": {
            "name": "podium-digits-2-1",
            "namespace": "lab",
            "uid": "j1",
            "labels": LABELS,
            "ownerReferences": [RUN],
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **metadata,
        },
        "spec": spec or {},
        "status": status,
    }


def test_a_job_that_was_named_before_names_had_a_prefix():
    assert read_job(job(name="digits-2-1")).job.name == "digits-2-1"


@pytest.mark.parametrize(
    ("folder", "copying", "expected"),
    [
        ({"waiting": {"reason": "ErrImagePull"}}, INIT, {"waiting": "ErrImagePull"}),
        ({"terminated": REFUSED}, INIT, {"exit_code": 1, "started": None}),
        ({"terminated": COPIED}, {"waiting": {"reason": "CreateContainerError"}}, {"waiting": "CreateContainerError"}),
        ({"terminated": COPIED}, {"terminated": REFUSED}, {"exit_code": 1}),
    ],
)
def test_a_pod_whose_folder_is_made_before_its_data_are_copied(folder, copying, expected):
    states = [{"name": "stage-folder", "state": folder}, {"name": "stage", "state": copying}]
    container = read_pod(pod(with_state(INIT, phase="Pending", initContainerStatuses=states))).container
    assert {name: getattr(container, name) for name in expected} == expected
    assert container.staging.last_lines == (REFUSED["message"] if "exit_code" in expected else "")


# ---- what is not ours ----


@pytest.mark.parametrize(
    "metadata",
    [
        {"ownerReferences": None},
        {"ownerReferences": []},
        {"ownerReferences": [{**RUN, "uid": "u2"}]},  # of another run, with our label
        {"ownerReferences": [{**RUN, "kind": "CronJob", "apiVersion": "batch/v1"}]},
        {"ownerReferences": [{**RUN, "apiVersion": "example.com/v1"}]},
        {"labels": {**LABELS, "podium.dev/run-uid": "x"}},
        {"labels": None},
        {"labels": {**LABELS, "podium.dev/try": "0"}},  # that try's Job has another name
        {"name": "podium-digits-copy"},
        {"name": "digits"},
        {"labels": {"podium.dev/run-uid": "x"}, "ownerReferences": None},
    ],
)
def test_a_job_that_is_not_of_the_run_that_its_label_names(metadata):
    assert read_job(job(**metadata)) is None


@pytest.mark.parametrize("owners", [None, [], [RUN], [{**JOB, "controller": False}], [{**JOB, "kind": "ReplicaSet"}]])
def test_a_pod_that_no_job_controls(owners):
    assert read_pod(pod({"phase": "Running"}, ownerReferences=owners)) is None


@pytest.mark.parametrize(
    "labels",
    [{**LABELS, "podium.dev/attempt": "abc"}, {**LABELS, "podium.dev/try": ""}, {"podium.dev/run-uid": "u1"},
     {**LABELS, "podium.dev/attempt": "9" * 5000}],
)  # fmt: skip
def test_a_job_of_ours_whose_labels_cannot_be_read_raises(labels):
    with pytest.raises((LookupError, ValueError)):
        read_job(job(labels=labels))


INDEX = "batch.kubernetes.io/job-completion-index"


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": None},
        {"annotations": {}},
        {"annotations": {INDEX: "first"}},
        {"annotations": {INDEX: "-1"}},
        {"labels": None},
        {"deletionTimestamp": "soon"},
        {"uid": None},
        {"name": 5},
        {"namespace": ["lab"]},
        {"labels": {"podium.dev/run-uid": {}}},
        {"ownerReferences": [{**JOB, "uid": []}]},
    ],
)
def test_a_pod_that_cannot_be_read_raises(metadata):
    with pytest.raises((LookupError, TypeError, ValueError)):
        read_pod(pod({"phase": "Running"}, **metadata))


@pytest.mark.parametrize("status", [None, {}, {"containerStatuses": None, "conditions": None}])
def test_a_pod_without_a_status_waits(status):
    assert read_pod(pod(status)).container.started is None


def test_a_pod_that_vanishes_keeps_the_words_of_its_disruption():
    running = with_state(RUNNING, conditions=PREEMPTED)
    assert read_pod(pod(running)).container.vanished(5.0).message == PREEMPTED[0]["message"]
    assert read_pod(pod(with_state(RUNNING))).container.vanished(5.0).message == "the pod was deleted"
