"""Statuses that another version of the operator has written: they are taken over without harm."""

from __future__ import annotations

import pytest

from podium.api import AttemptState, Reason, Score, TryId
from podium.reconcile import CreateJob, Emit, StoreResult, decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.examples import GOOD, START, SUCCESS, T0, ended, log, observed

ROUNDS = load_rounds()


@pytest.mark.parametrize("retries", [1, 2])
def test_a_failure_for_an_unknown_reason_uses_up_a_retry(retries):
    """`PodFailed` was a reason before failures had classes."""
    tries = [ex.attempt(1, AttemptState.FAILED, try_=i, reason="PodFailed", stored=True) for i in range(retries + 1)]
    run = ex.run(ex.status(*tries[:retries]), maxRetries=retries)
    again = decide(run, observed(recorded=ex.recorded(*run.status.attempts)), ROUNDS, T0)
    assert again.actions == (CreateJob(TryId(attempt=1, number=retries)),)
    spent = decide(ex.run(ex.status(*tries), maxRetries=retries), observed(result=ex.RESULT), ROUNDS, T0)
    assert spent.status.terminal


def test_a_measurement_for_an_unknown_reason_is_not_repeated():
    measured = ex.attempt(1, AttemptState.NOT_CONVERGED, reason="FromTheFuture", stored=True)
    assert decide(ex.run(ex.status(measured)), observed(result=ex.RESULT), ROUNDS, T0).status.terminal


def test_a_try_from_before_jobs_had_recorded_uids_and_seeds_goes_on():
    before = ex.attempt(state=AttemptState.TRAINING, start_time="2023-11-14T22:13:40.000Z")
    job = ex.job(ended(0), ended(1), uid="j1", seed=None, name="digits-1-0")
    unread = decide(ex.run(ex.status(before)), observed(job, log(known=None)), ROUNDS, T0 + 200)
    (waits,) = unread.status.attempts
    assert (unread.actions, waits.state, waits.job_uid, waits.seed) == ((), "Training", "j1", 7)
    read = decide(ex.run(unread.status), observed(job, log(START, GOOD, SUCCESS, whole=True)), ROUNDS, T0 + 200)
    assert read.status.attempts[0].state == "Converged"


SCORE = Score(valid=False, official=False)
WON = Score(valid=True, official=False, time_to_train_minutes="0.7")
LOST = ex.attempt(1, AttemptState.FAILED, reason="PodLost", message="pod a: Deleted", stored=True)


@pytest.mark.parametrize(
    ("mine", "sealed", "end"),
    [
        (ex.converged(1, 40), StoreResult(SCORE, (LOST,), "Failed", "in its words"), "AttemptFailed: in its words"),
        (LOST, StoreResult(WON, (ex.converged(1, 41),), "Complete", ""), "Scored: time to train 0.7 min"),
    ],
)
def test_a_result_that_a_process_stored_before_it_died_stands(mine, sealed, end):
    """It knew more of the pods than the next one does, or less; the sealed folder cannot be written twice."""
    run = ex.run(ex.status(mine), maxRetries=0)
    status = decide(run, observed(result=ex.RESULT, sealed=sealed), ROUNDS, T0).status
    assert (status.attempts, status.score) == (sealed.attempts, sealed.score)
    assert f"{status.end.reason}: {status.end.message}" == end


def test_nothing_is_launched_after_a_sealed_end():
    sealed = StoreResult(SCORE, (LOST,), "Failed", "quota")
    decision = decide(ex.run(ex.status(LOST), attempts=5), observed(result=ex.RESULT, sealed=sealed), ROUNDS, T0)
    assert (decision.actions, decision.status.terminal) == ((Emit(Reason.LAUNCH_REFUSED, "quota"),), True)
