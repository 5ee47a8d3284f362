"""Queues, suspensions and what they cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.api import AttemptState, TryId
from podium.reconcile import CreateJob, ReadLog, StoreAttempt, decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.examples import BAD, FIRST, GOOD, START, SUCCESS, T0, ended, log, observed

ROUNDS = load_rounds()
RETRY = TryId(attempt=1, number=1)
PODS = (ex.running(0), ex.running(1))
GONE = (ended(0, None, stopped="Deleted"), ended(1, None, stopped="Deleted"))
READY = ex.attempt(state=AttemptState.INITIALIZING)
TRAINING = ex.attempt(state=AttemptState.TRAINING, start_time="2023-11-14T22:13:40.000Z")


def after(attempt, seen, now=200.0, **changes):
    """The try, and the decision."""
    result = decide(ex.run(ex.status(attempt), **changes), seen, ROUNDS, T0 + now)
    return result.status.attempts[0], result


# ---- the queue ----


def test_waiting_in_a_queue_has_a_deadline_of_its_own():
    waits = observed(ex.job(suspended=True))
    queued, result = after(ex.attempt(), waits, 1e6, queueName="gpus")
    assert (queued.state, queued.reason, result.wake_at) == ("Pending", "Queued", None)
    limits = {"pending": "10m", "queued": "1h", "init": "5m", "run": "1h"}
    early, result = after(ex.attempt(), waits, 3599, queueName="gpus", deadlines=limits)
    assert (early.reason, result.wake_at) == ("Queued", T0 + 3600)
    late, _ = after(ex.attempt(), waits, 3601, queueName="gpus", deadlines=limits)
    assert (late.reason, late.failure.class_) == ("QueuedDeadlineExceeded", "infrastructure")


def test_a_job_that_is_taken_back_before_it_starts_waits_anew():
    """It is created at 0, admitted, and back in its queue at 3000; it may wait for an hour."""
    limits = {"pending": "10m", "queued": "1h", "init": "5m", "run": "1h"}
    back = observed(ex.job(suspended=True, suspended_since=T0 + 3000, queue=True))
    waits, result = after(ex.attempt(), back, 3700, queueName="gpus", deadlines=limits)
    assert (waits.reason, result.wake_at) == ("Queued", T0 + 6600)
    assert after(ex.attempt(), back, 6601, queueName="gpus", deadlines=limits)[0].reason == "QueuedDeadlineExceeded"


def test_a_suspended_job_without_a_queue_says_that_nobody_will_admit_it():
    waits, _ = after(ex.attempt(), observed(ex.job(suspended=True)))
    assert (waits.reason, "spec.queueName names no queue" in waits.message) == ("Queued", True)
    for job, name in ((ex.job(suspended=True), "gpus"), (ex.job(suspended=True, queue=True), None)):
        assert after(ex.attempt(), observed(job), queueName=name)[0].message == "waiting for its queue to admit the Job"


def test_the_pending_deadline_counts_from_the_admission():
    """The Job is created at 0, admitted at 5000 and may be pending for 600 s."""
    admitted = observed(ex.job(admitted=T0 + 5000))
    waits, result = after(ex.attempt(reason="Queued"), admitted, 5599, queueName="gpus")
    assert (waits.reason, result.wake_at) == ("Pending", T0 + 5600)
    assert after(ex.attempt(), admitted, 5601, queueName="gpus")[0].reason == "PendingDeadlineExceeded"


@pytest.mark.parametrize(
    ("attempt", "containers", "lines"),
    [(TRAINING, GONE, [START, BAD]), (READY, GONE, []), (ex.attempt(), GONE, []), (TRAINING, (), [])],
)
def test_a_preempted_try_is_replaced_free_of_charge(attempt, containers, lines):
    seen = observed(ex.job(*containers, suspended=True, queue=True), log(*lines, whole=True))
    lost, _ = after(attempt, seen, queueName="gpus", maxRetries=0)
    assert (lost.state, lost.reason, lost.failure.class_) == ("Failed", "Preempted", "disruption")
    stored = lost.model_copy(update={"stored": True})
    again = decide(ex.run(ex.status(stored), maxRetries=0), observed(recorded={FIRST: stored}), ROUNDS, T0 + 300)
    assert again.actions == (CreateJob(RETRY),)


def test_a_preemption_is_judged_when_its_log_is_complete():
    """The last line before the pods were deleted may be run_stop."""
    job = ex.job(*GONE, suspended=True, queue=True)
    waits, result = after(TRAINING, observed(job, log(START, GOOD)))
    assert (waits.state, result.wake_at) == ("Training", T0 + 205)
    assert after(TRAINING, observed(job, log(START, GOOD, SUCCESS, whole=True)))[0].reason == "TargetReached"


@pytest.mark.parametrize("stopped", [{}, {"finished": T0 + 130, "stopped": "Deleted"}])
def test_a_job_that_was_admitted_again_while_its_pods_were_ending_was_preempted(stopped):
    """The queue gives it machines again within their grace period, and nothing says any more that it was suspended."""
    old = replace(ex.running(0), deleted=T0 + 100, **stopped)
    seen = observed(ex.job(old, admitted=T0 + 110, queue=True), log(START, BAD, whole=bool(stopped)))
    lost, _ = after(TRAINING, seen, queueName="gpus")
    assert (lost.reason, lost.failure.class_) == ("Preempted", "disruption")
    drained = observed(ex.job(old, admitted=T0 + 5, queue=True), log(START, BAD))
    assert after(TRAINING, drained, queueName="gpus")[0].reason != "Preempted"


def test_a_job_that_was_suspended_and_admitted_unseen_was_preempted():
    """It has other pods: those that it had are gone, and with them perhaps the last lines of the log."""
    job = ex.job(*GONE, admitted=T0 + 5, queue=True, restarted=True)
    waits, result = after(TRAINING, observed(job, log(START, GOOD)), queueName="gpus")
    assert (waits.state, result.wake_at) == ("Training", T0 + 205)
    lost, _ = after(TRAINING, observed(job, log(START, GOOD, whole=True)), queueName="gpus", maxRetries=0)
    assert (lost.reason, lost.failure.class_) == ("Preempted", "disruption")
    measured, result = after(TRAINING, observed(job, log(START, GOOD, SUCCESS, whole=True)), queueName="gpus")
    assert (measured.reason, result.actions) == ("TargetReached", (StoreAttempt(measured, concluding=True),))


def test_a_job_whose_pods_had_not_started_goes_back_to_its_queue():
    seen = observed(ex.job(ended(0, None, stopped="Deleted", started=None), suspended=True, queue=True))
    assert after(ex.attempt(reason="Pending"), seen, queueName="gpus")[0].reason == "Queued"


def test_a_job_that_somebody_suspends_by_hand_is_counted():
    seen = observed(ex.job(*GONE, suspended=True), log(START, whole=True))
    assert after(TRAINING, seen)[0].reason == "JobSuspended"


# ---- spec.suspend ----


@pytest.mark.parametrize(
    ("attempt", "seen", "reason"),
    [
        (ex.attempt(reason="Queued"), observed(ex.job(suspended=True)), "Suspended"),
        (ex.attempt(), observed(ex.job()), "Suspended"),
        (READY, observed(ex.job(*PODS), log()), "Suspended"),
        (TRAINING, observed(ex.job(*PODS), log(START)), "SuspendedInTraining"),
        (READY, observed(ex.job(*PODS), log(START)), "SuspendedInTraining"),
        (TRAINING, observed(ex.job(*PODS), log(START, GOOD, SUCCESS)), None),
        (TRAINING, observed(ex.job(ended(0), ended(1)), log(START, GOOD, SUCCESS, whole=True)), "TargetReached"),
    ],
)
def test_what_a_suspension_costs_depends_on_the_clock(attempt, seen, reason):
    stopped, result = after(attempt, seen, suspend=True)
    assert stopped.reason == reason
    assert not [a for a in result.actions if isinstance(a, CreateJob)]


@pytest.mark.parametrize("attempt", [READY, TRAINING])
def test_a_suspension_waits_until_the_log_has_been_read(attempt):
    """run_start or run_stop may stand in it."""
    waits, result = after(attempt, observed(ex.job(*PODS), log(known=100)), suspend=True)
    assert (waits.state, result.actions) == (attempt.state, (ReadLog(FIRST),))


def test_a_timed_attempt_is_not_repeated_on_resume():
    held = ex.attempt(state=AttemptState.NOT_CONVERGED, reason="SuspendedInTraining", stored=True)
    result = decide(ex.run(ex.status(held), attempts=2), observed(), ROUNDS, T0)
    assert result.actions == (CreateJob(TryId(attempt=2, number=0)),)


def test_free_tries_are_bounded():
    def tries(count):
        return [
            ex.attempt(1, AttemptState.FAILED, number, reason="Preempted", message="why", stored=True)
            for number in range(count)
        ]

    for count, goes_on in ((20, True), (21, True), (22, False)):
        run = ex.run(ex.status(*tries(count)), maxRetries=1)
        result = decide(run, observed(recorded=ex.recorded(*run.status.attempts)), ROUNDS, T0)
        assert (result.actions == (CreateJob(TryId(attempt=1, number=count)),)) is goes_on, count


def test_a_run_has_no_more_tries_than_a_status_can_list():
    lost = [
        ex.attempt(index, AttemptState.FAILED, number, reason="Preempted", message="why", stored=True)
        for index in range(1, 61)
        for number in range(20)
    ]
    result = decide(replace(ex.run(ex.status(*lost), attempts=60)), observed(), ROUNDS, T0)
    assert not [a for a in result.actions if isinstance(a, CreateJob)]
