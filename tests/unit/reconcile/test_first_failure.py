"""Which container of a try failed first, when nodes' clocks differ."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.api import Reason
from podium.reconcile import decide
from podium.reconcile.failure import awaits_cause, failed, first_failure
from podium.reconcile.model import ObservedLog
from podium.rounds import load_rounds
from tests.unit.reconcile.examples import START, T0, attempt, ended, job, log, observed, run, running, status, waiting

# rank 0's node is 40 s ahead; the Job controller deleted rank 1 because rank 0 had failed
CRASHED = ended(0, 1, finished=140)
DELETED = replace(ended(1, None, finished=101, stopped="Deleted"), deleted=T0 + 101)


def failing(since: float, *containers):
    return job(*containers, failing="backoff limit", failing_since=T0 + since)


@pytest.mark.parametrize(
    ("observed", "first"),
    [
        (failing(101, CRASHED, DELETED), CRASHED),
        (failing(102, CRASHED, DELETED), CRASHED),  # it deletes the pods, then writes the condition
        (failing(110, CRASHED, DELETED), DELETED),  # somebody deleted it, and the others failed because of it
        (failing(101, CRASHED, replace(DELETED, deleted=None)), CRASHED),  # no watch showed its deletion
        # nor that, to an operator whose clock is 5 s behind; seen gone long before the Job failed, it is the cause
        (replace(failing(106, CRASHED, replace(DELETED, deleted=None)), failing_seen=T0 + 101), CRASHED),
        (
            replace(failing(106, CRASHED, replace(DELETED, deleted=None)), failing_seen=T0 + 106),
            replace(DELETED, deleted=None),
        ),
        (
            failing(101, CRASHED, replace(DELETED, disruption="EvictionByEvictionAPI")),
            replace(DELETED, disruption="EvictionByEvictionAPI"),
        ),
    ],
)
def test_pods_that_the_job_controller_deleted_are_no_cause(observed, first):
    assert first_failure(observed) == first


@pytest.mark.parametrize(
    "taken",
    [
        ended(0, 137, finished=140, stopped="OOMKilled"),
        ended(0, 137, finished=140, stopped="Evicted", disruption="TerminationByKubelet"),
        ended(0, None, finished=140, stopped="UnexpectedAdmissionError"),
    ],
)
def test_the_word_of_a_kubelet_goes_before_the_clock_of_its_node(taken):
    """Rank 1 fails 20 s after rank 0, whose node is 40 s ahead."""
    peer = ended(1, 1, finished=120)
    assert first_failure(job(taken, peer)) == taken
    limited = replace(taken, stopped="OOMKilled", disruption="", exit_code=137, memory_limited=True)
    assert first_failure(job(limited, peer)) == peer, "its own limit: both ended themselves, so the times decide"


def test_a_node_that_shuts_down_is_not_short_of_memory():
    container = ended(0, 137, stopped="Terminated", disruption="TerminationByKubelet", message="imminent node shutdown")
    assert failed(attempt(), job(container), container, log()).reason == Reason.DRAINED
    evicted = replace(container, stopped="Evicted")
    assert failed(attempt(), job(evicted), evicted, log()).reason == Reason.EVICTED
    assert failed(attempt(), job(evicted), replace(evicted, stopped="Error"), log()).reason == Reason.EVICTED


def test_a_pod_that_never_started_is_named_with_its_node():
    slow = replace(waiting(0, "ContainerCreating"), node="node-1")
    image = replace(waiting(1, "ImagePullBackOff", "Back-off pulling image: no space left on device"), node="node-2")
    config = replace(waiting(1, "CreateContainerError", "no such device"), node="node-3")
    command = replace(config, message='exec: "train": executable file not found')
    nowhere = waiting(0, "Unschedulable", "0/9 nodes are available")
    for containers, reason, failure in (
        ((image, running(0)), "ImagePullFailed", ("ImagePullBackOff", "node-2", image.name, image.message)),
        ((slow, config), "DeviceError", ("CreateContainerError", "node-3", config.name, config.message)),
        ((slow, command), "PodCannotStart", ("CreateContainerError", "node-3", command.name, command.message)),
        ((nowhere, running(1)), "PendingDeadlineExceeded", ("Unschedulable", None, nowhere.name, nowhere.message)),
    ):
        seen = observed(job(*containers))
        (one,) = decide(run(status(attempt())), seen, load_rounds(), T0 + 700).status.attempts
        found = one.failure
        assert (one.reason, (found.reason, found.node, found.pod, found.message)) == (reason, failure)
    quota = observed(job(slow, cause="exceeded quota"))
    (one,) = decide(run(status(attempt())), quota, load_rounds(), T0 + 700).status.attempts
    assert (one.failure.pod, "exceeded quota" in one.failure.message) == (None, True), "the pod is not to blame"


def test_a_failure_has_the_last_output_of_the_pod_that_failed():
    """Rank 0 only says that it has lost a peer."""
    output = log(START, whole=True, tail="connection closed by peer")
    for first, message, said in (
        (
            ended(1, 139, node="node-2", last_output="CUDA error: uncorrectable ECC error"),
            "exit code 139; last output: CUDA error: uncorrectable ECC error; rank 0's last output: connection closed",
            "CUDA error: uncorrectable ECC error",
        ),
        (
            ended(1, 139, node="node-2"),
            "exit code 139; rank 0's last output: connection closed",
            "pod digits-1-0-1: exit",
        ),
        (ended(0, 139, node="node-2", last_output="x"), "exit code 139; last output: connection closed", "connection"),
    ):
        seen = observed(job(first, ended(1 - first.node_index, 1, finished=101)), output)
        (one,) = decide(run(status(attempt())), seen, load_rounds(), T0 + 110).status.attempts
        assert message in one.message
        found = one.failure
        assert (found.class_, found.reason, found.node, found.pod) == ("program", "Error", "node-2", first.name)
        assert (found.exit_code, found.signal) == (139, 11)
        assert found.message.startswith(said)


@pytest.mark.parametrize("word", ["OutOfnvidia.com/gpu", "AppArmor", "SysctlForbidden", "TopologyAffinityError"])
def test_a_pod_that_the_kubelet_does_not_admit_was_not_lost(word):
    """Kubernetes 1.29 to 1.37 begin the message of each alike; the words are more than a list could have."""
    refused = ended(0, None, stopped=word, node="node-1", message="Pod was rejected: no", started=None)
    found = failed(attempt(), job(refused), refused, log())
    assert (found.reason, found.failure.class_) == ("PodRejected", "infrastructure")
    assert found.message == f"pod digits-1-0-0 on node node-1: {word}: Pod was rejected: no"
    shut = replace(refused, stopped="NodeShutdown", message="Pod was rejected: the node shuts down")
    assert failed(attempt(), job(shut), shut, log()).reason == Reason.DRAINED
    gone = replace(refused, message="the pod was deleted")
    assert failed(attempt(), job(gone), gone, log()).reason == Reason.POD_LOST


def test_a_deleted_pod_is_judged_when_its_job_has_said_why():
    assert awaits_cause(job(CRASHED, DELETED))
    assert not awaits_cause(failing(101, CRASHED, DELETED))
    assert not awaits_cause(job(CRASHED, DELETED, finished="Failed"))
    assert not awaits_cause(job(DELETED))  # nothing else can have been the cause


def test_a_lost_log_hides_the_class_only_while_the_clock_may_be_running():
    lost = replace(log(), lost="the pod was deleted")
    known = attempt().model_copy(update={"start_time": "2026-01-01T00:00:00Z"})
    assert failed(known, job(CRASHED), CRASHED, lost).reason == Reason.PROGRAM_EXITED
    assert failed(attempt(), job(CRASHED), CRASHED, lost).reason == Reason.LOG_LOST
    assert failed(attempt(), job(CRASHED), CRASHED, ObservedLog()).reason == Reason.PROGRAM_FAILED
