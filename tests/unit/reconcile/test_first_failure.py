"""Which container of a try failed first, when nodes' clocks differ."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.api import Reason
from podium.reconcile.failure import awaits_cause, failed, first_failure
from podium.reconcile.model import ObservedLog
from tests.unit.reconcile.examples import T0, attempt, ended, job, log

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
        (
            failing(101, CRASHED, replace(DELETED, disruption="EvictionByEvictionAPI")),
            replace(DELETED, disruption="EvictionByEvictionAPI"),
        ),
    ],
)
def test_pods_that_the_job_controller_deleted_are_no_cause(observed, first):
    assert first_failure(observed) == first


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
