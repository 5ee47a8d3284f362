"""decide() on whole runs: what to do next, and what to report. The state of a single try is in test_tries.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.api import AttemptState, BenchmarkRunStatus, ConditionType, Pinned, Reason, Result, TryId
from podium.reconcile import CreateJob, DeleteRun, Emit, Refusal, StoreAttempt, StoreResult, decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.examples import BAD, FIRST, GOOD, START, SUCCESS, T0, converged, ended, log, observed

ROUNDS = load_rounds()
RETRY = TryId(attempt=1, number=1)
SECOND = TryId(attempt=2, number=0)
STORED = Result(uri="file:///results/lab/digits", sha256="0" * 64)


def decision(run, seen, now=200.0):
    made = decide(run, seen, ROUNDS, T0 + now)
    for condition in made.status.conditions:
        reason = Reason(condition.reason)
        assert condition.type in (reason.true if condition.status == "True" else reason.false), condition
    return made


def kinds(actions):
    return [type(action).__name__ for action in actions if not isinstance(action, Emit)]


def test_first_visit_creates_the_first_attempt():
    run = ex.run(attempts=5)
    first = decision(run, observed())
    assert (first.actions, first.status.attempts) == ((CreateJob(FIRST),), ())
    result = decision(replace(run, status=first.status), observed(ex.job(seed=42, uid="j1"), recorded={}))
    assert result.actions == ()
    assert [(a.index, a.try_, a.state, a.job, a.job_uid, a.seed, a.again) for a in result.status.attempts] == [
        (1, 0, "Pending", "podium-digits-1-0", "j1", 42, None)
    ]
    reported = {c.type: (c.status, c.reason) for c in result.status.conditions}
    assert reported == {
        "Admitted": ("True", "Valid"),
        "Running": ("False", "Pending"),
        "Suspended": ("False", "NotSuspended"),
        "ResultStored": ("False", "InProgress"),
        "Complete": ("False", "InProgress"),
        "Failed": ("False", "InProgress"),
    }
    assert result.status.progress.attempt == "1/5"


@pytest.mark.parametrize(
    ("gang", "nodes", "words"),
    [
        ("Queue", 1, "; Kueue starts its pods together"),
        ("PodGroup", 2, "; the scheduler starts its pods together"),
        ("None", 2, "; neither a queue nor a PodGroup starts its pods together"),
        ("None", 1, ""),
    ],
)
def test_the_condition_says_who_starts_the_pods_together(gang, nodes, words):
    run = ex.run(BenchmarkRunStatus(pinned=Pinned(gang=gang)), system={"name": "test", "nodes": nodes})
    admitted = decision(run, observed()).status.condition(ConditionType.ADMITTED)
    assert admitted.message == f"v0.6 resnet: 1 attempts, target 0.9{words}"


def test_progress_says_how_much_of_the_way_to_the_target_is_done_also_after_a_restart():
    pods = ex.job(ex.running(0), ex.running(1))
    seen = decision(ex.run(), observed(pods, log(START, BAD)))
    assert (seen.status.progress.quality, seen.status.progress.quality_ratio) == ("0.55", "0.611")
    unread = decision(ex.run(seen.status), observed(pods, log()))
    assert unread.status.progress.quality_ratio == "0.611", "the log is not read yet"
    assert decision(ex.run(), observed(pods, log(START))).status.progress.quality_ratio is None


def test_a_job_that_is_not_listed_was_created_before_a_crash_and_is_adopted():
    result = decision(ex.run(), observed(ex.job(ex.running(0), ex.running(1)), log(START)))
    assert result.actions == ()
    assert [(a.id, str(a.state)) for a in result.status.attempts] == [(FIRST, "Training")]


@pytest.mark.parametrize(
    ("listed", "id_"),
    [
        ((), (0, 0)),
        ((), (6, 0)),
        ((), (1, 9)),
        ((), (10**20, 0)),
        ((ex.attempt(),), (1, 1)),
        ((converged(1, 40),), (1, 1)),
    ],
)
def test_a_job_with_the_number_of_a_try_that_cannot_start_now_is_not_adopted(listed, id_):
    """No CRD allows an attempt 0, and so no status that lists it could be written ever again."""
    jobs = {a.id: ex.job(ex.running(0), ex.running(1)) for a in listed}
    forged = {**jobs, TryId(*id_): ex.job(ex.running(0), ex.running(1))}
    result = decision(ex.run(ex.status(*listed), attempts=5), observed(forged))
    assert [a.id for a in result.status.attempts] == [a.id for a in listed]


def test_an_adopted_job_keeps_its_name():
    old = replace(ex.job(ex.running(0)), name="digits-1-0")
    result = decision(ex.run(), observed(old))
    assert [a.job for a in result.status.attempts] == ["digits-1-0"]


def test_times_come_from_the_log():
    run = ex.run(ex.status(ex.attempt()))
    seen = observed(ex.job(ended(0), ended(1)), log(START, GOOD, SUCCESS, whole=True))
    done = decision(run, seen).status.attempts[0]
    assert (done.time_to_train_seconds, done.quality, done.epochs) == ("41.000", "0.95", "3")


def test_an_attempt_with_a_wrong_clock_has_no_time():
    run = ex.run(ex.status(ex.attempt()))
    lines = log((5, "run_stop", None), START, GOOD, SUCCESS, whole=True)
    attempt = decision(run, observed(ex.job(ended(0), ended(1)), lines)).status.attempts[0]
    assert (attempt.reason, attempt.time_to_train_seconds) == ("ClockInvalid", None)
    early = observed(ex.job(replace(ended(0), started=ex.T0 + 40), ended(1)), log(START, GOOD, SUCCESS, whole=True))
    attempt = decision(run, early).status.attempts[0]
    assert (attempt.reason, attempt.time_to_train_seconds) == ("ClockInvalid", None), attempt


def test_the_next_attempt_starts_when_the_containers_have_left():
    run = ex.run(ex.status(ex.attempt()), attempts=5)
    seen = log(START, GOOD, SUCCESS, whole=True)
    assert kinds(decision(run, observed(ex.job(ended(0), ended(1)), seen)).actions) == ["CreateJob", "StoreAttempt"]
    hangs = decision(run, observed(ex.job(ended(0), ex.running(1)), seen), now=500)
    assert kinds(hangs.actions) == ["StoreAttempt"]
    assert hangs.status.attempts[0].state == "Converged"


@pytest.mark.parametrize(
    ("tries", "following"),
    [
        ([ex.attempt(1, AttemptState.FAILED, reason="PodLost", stored=True)], RETRY),
        ([ex.attempt(1, AttemptState.FAILED, reason="InitDeadlineExceeded", stored=True)], RETRY),
        ([ex.attempt(1, AttemptState.ABORTED, reason="Suspended", stored=True)], RETRY),
        ([ex.attempt(1, AttemptState.NOT_CONVERGED, reason="QualityNotReached", stored=True)], SECOND),
        ([converged(1, 40)], SECOND),
        ([ex.attempt(1, AttemptState.INVALID, reason="RunStopMissing", stored=True)], SECOND),
    ],
)
def test_which_try_follows(tries, following):
    run = ex.run(ex.status(*tries), attempts=5)
    result = decision(run, observed(recorded=ex.recorded(*run.status.attempts)))
    assert [a.id for a in result.actions if isinstance(a, CreateJob)] == [following]
    assert result.status.attempts == tuple(tries)  # nothing that was made is forgotten


def test_a_try_is_repeated_only_once_the_api_server_has_how_it_ended():
    """Until then a new process, which may read more of its log, may judge it otherwise."""
    lost = ex.attempt(1, AttemptState.FAILED, reason="NodeLost", stored=True)
    run = ex.run(ex.status(lost), attempts=5)
    for before in ({}, {FIRST: ex.attempt(1, AttemptState.TRAINING)}):
        assert not decision(run, observed(recorded=before)).actions


def test_a_try_says_why_it_follows_an_earlier_one():
    lost = ex.attempt(1, AttemptState.FAILED, reason="NodeLost", message="node-7", stored=True)
    tries = decision(ex.run(ex.status(lost)), observed({RETRY: ex.job(seed=8)})).status.attempts
    assert [(a.seed, a.again) for a in tries] == [(7, None), (8, "NodeLost: node-7")]


def test_retries_come_to_an_end():
    lost = [ex.attempt(1, AttemptState.FAILED, n, reason="PodLost", message="evicted", stored=True) for n in range(3)]
    run = ex.run(ex.status(converged(1, 40), *lost[1:]), attempts=2)
    result = decision(run, observed(recorded=ex.recorded(*run.status.attempts)))
    assert CreateJob in {type(a) for a in result.actions}  # two failures, two retries allowed
    result = decision(ex.run(ex.status(*lost)), observed())
    (store,) = [a for a in result.actions if isinstance(a, StoreResult)]
    assert store.outcome == "Failed"
    assert store.message == "attempt 1 failed after 3 tries: PodLost: evicted"


@pytest.mark.parametrize("reason", ["PodCannotStart", "PendingDeadlineExceeded", "NoMLPerfLog"])
def test_what_a_retry_cannot_fix_is_not_retried(reason):
    failed = ex.attempt(1, AttemptState.FAILED, reason=reason, message="why", stored=True)
    result = decision(ex.run(ex.status(failed), attempts=5), observed())
    assert kinds(result.actions) == ["StoreResult"]


def test_two_broken_logs_end_a_run_of_five():
    broken = [ex.attempt(i, AttemptState.INVALID, reason="RunStopMissing", message="why", stored=True) for i in (1, 2)]
    result = decision(ex.run(ex.status(*broken), attempts=5), observed())
    assert kinds(result.actions) == ["StoreResult"]


def test_the_end_is_reported_only_when_everything_is_stored():
    done = converged(1, 40, stored=False)
    run = ex.run(ex.status(done))
    first = decision(run, observed())
    assert first.actions == (StoreAttempt(done, concluding=True),)
    assert not first.status.terminal
    second = decision(run, observed(stored=frozenset({FIRST})))
    assert kinds(second.actions) == ["StoreResult"]
    assert not second.status.terminal
    third = decision(run, observed(stored=frozenset({FIRST}), result=STORED))
    assert third.status.is_true(ConditionType.COMPLETE)
    assert third.status.is_true(ConditionType.RESULT_STORED)
    assert third.status.result == STORED


def test_a_store_that_is_down_delays_the_end_and_says_so():
    run = ex.run(ex.status(converged(1, 40, stored=False)))
    result = decision(run, observed(store_error="s3://bucket: connection refused"))
    condition = result.status.condition(ConditionType.RESULT_STORED)
    assert (condition.status, condition.reason) == ("False", "StoreUnavailable")
    assert condition.message == "s3://bucket: connection refused"
    assert not result.status.terminal


def test_five_attempts_are_scored_by_the_olympic_mean():
    tries = [converged(i, seconds) for i, seconds in enumerate([600, 660, 540, 720, 630], start=1)]
    result = decision(ex.run(ex.status(*tries), attempts=5), observed(result=STORED))
    assert result.status.score.time_to_train_minutes == "10.5000"
    assert result.status.score.dropped == (3, 4)
    assert result.status.score.valid


def test_an_attempt_that_only_initialized_too_long_keeps_its_place():
    tries = [converged(i, seconds) for i, seconds in enumerate([600, 660, 540, 720], start=1)]
    long = {"reason": "InitTooLong", "time_to_train_seconds": "630.000", "stored": True}
    result = decision(
        ex.run(ex.status(*tries, ex.attempt(5, AttemptState.INVALID, **long)), attempts=5), observed(result=STORED)
    )
    assert (result.status.score.time_to_train_minutes, result.status.score.dropped) == ("10.5000", (3, 4))


def test_a_terminal_run_creates_nothing_whatever_is_gone():
    done = decision(ex.run(ex.status(converged(1, 40))), observed(result=STORED)).status
    assert decision(ex.run(done), observed()).actions == ()
    assert decision(ex.run(done), observed(), now=1e6).status == done


def test_time_to_live():
    done = decision(ex.run(ex.status(converged(1, 40))), observed(result=STORED), now=200).status
    run = ex.run(done, ttlSecondsAfterFinished=60)
    written = observed(end_recorded=True)
    assert decision(run, written, now=259).wake_at == T0 + 260
    assert decision(run, written, now=261).actions == (DeleteRun(),)


def test_suspending_before_run_start_stops_the_try_and_resuming_repeats_it():
    run = ex.run(ex.status(ex.attempt()), suspend=True)
    seen = observed(ex.job(ex.running(0), ex.running(1)), log())
    held = decision(run, seen)
    assert kinds(held.actions) == ["StoreAttempt"]
    assert (held.status.attempts[0].state, held.status.attempts[0].reason) == ("Aborted", "Suspended")
    assert held.status.is_true(ConditionType.SUSPENDED)
    assert kinds(decision(ex.run(held.status, suspend=True), observed(stored=frozenset({FIRST}))).actions) == []
    run = ex.run(held.status)
    resumed = decision(run, observed(stored=frozenset({FIRST}), recorded=ex.recorded(*run.status.attempts)))
    assert [a.id for a in resumed.actions if isinstance(a, CreateJob)] == [RETRY]


def test_a_try_whose_job_is_gone_is_lost_even_if_its_run_was_suspended_since():
    """Its clock may have been running: a repetition that costs nothing could be had again and again."""
    run = ex.run(ex.status(ex.attempt()), suspend=True)
    assert decision(run, observed(None, log(whole=False))).status.attempts[0].state == "Pending"
    lost = decision(run, observed(None, log(whole=True))).status.attempts[0]
    assert (lost.state, lost.reason) == ("Failed", "JobLost")


def test_deleting_the_run_stores_what_was_measured_as_aborted():
    run = ex.run(ex.status(converged(1, 40), ex.attempt(2)), deleted=True, attempts=5)
    seen = observed({SECOND: ex.job(ex.running(0), ex.running(1))}, {SECOND: log(START, BAD)})
    result = decision(run, seen)
    (store,) = result.actions  # the Job goes with its owner
    assert (store.attempt.id, store.attempt.state, store.attempt.quality) == (SECOND, "Aborted", "0.55")
    ended_seen = replace(seen, stored=frozenset({SECOND}), jobs={})
    (final,) = decision(replace(run, status=result.status), ended_seen).actions
    assert (final.outcome, len(final.attempts)) == ("Aborted", 2)
    over = decision(replace(run, status=result.status), replace(ended_seen, result=STORED))
    assert over.actions == ()
    said = {c.type: (c.reason, c.message) for c in (*result.status.conditions, *over.status.conditions)}
    assert said["Running"] == ("RunDeleted", "the BenchmarkRun was deleted; only a finalizer keeps the object")
    assert (said["Complete"][0], said["Failed"][0], over.status.terminal) == ("RunDeleted", "RunDeleted", False)
    assert (said["ResultStored"][0], over.status.result) == ("Stored", STORED)
    running = result.status.condition(ConditionType.RUNNING)
    assert running.message == "the BenchmarkRun was deleted; its attempts are being ended and stored"
    assert decision(replace(run, status=over.status), observed(jobs={})).actions == (), (
        "a new process stores nothing again"
    )


def test_a_try_that_dies_of_the_deletion_is_aborted_and_not_failed():
    run = ex.run(ex.status(ex.attempt()), deleted=True)
    seen = observed(ex.job(ended(0, 143), ended(1, 143)), log(START, BAD, whole=True))
    assert decision(run, seen).status.attempts[0].state == "Aborted"


def test_deleting_a_run_that_made_nothing_stores_nothing():
    assert decision(ex.run(deleted=True), observed()).actions == ()


def test_a_wrong_spec_fails_with_the_remedy():
    result = decision(ex.run(hyperparameters={"opt_base_learnin_rate": 1}), observed())  # codespell:ignore learnin
    failed = result.status.condition(ConditionType.FAILED)
    assert failed.reason == "InvalidSpec"
    assert failed.message == (
        "spec.hyperparameters.opt_base_learnin_rate: not an MLPerf hyperparameter "  # codespell:ignore learnin
        "(did you mean opt_base_learning_rate?); a custom image may define it"
    )
    gone = ex.run(deleted=True, hyperparameters={"opt_base_learnin_rate": 1})  # codespell:ignore learnin
    assert decision(gone, observed()).actions == (), "nothing is left to do, so that the run is forgotten"


@pytest.mark.parametrize(("final", "now", "terminal"), [(False, 30, False), (False, 700, True), (True, 30, True)])
def test_a_refused_job_is_tried_until_the_pending_deadline(final, now, terminal):
    refusal = Refusal("Forbidden: exceeded quota: gpus", since=T0, final=final)
    result = decision(ex.run(), observed(launch_refusal=refusal), now=now)
    assert result.status.terminal is terminal
    assert result.status.attempts == ()
    kind = ConditionType.FAILED if terminal else ConditionType.RUNNING
    condition = result.status.condition(kind)
    assert (condition.reason, condition.message) == ("LaunchRefused", "Forbidden: exceeded quota: gpus")


def test_a_job_deleted_by_hand_is_a_recorded_failure_and_is_tried_again():
    run = ex.run(ex.status(ex.attempt(1, AttemptState.TRAINING)))
    assert decision(run, observed(None, log(START))).actions == ()  # its log is still being read
    result = decision(run, observed(None, log(START, whole=True)))
    assert [(a.id, str(a.state), a.reason) for a in result.status.attempts] == [(FIRST, "Failed", "JobLost")]
    run = ex.run(result.status)
    assert CreateJob(RETRY) in decision(run, observed(recorded=ex.recorded(*run.status.attempts))).actions


@pytest.mark.parametrize(("code", "retried"), [(1, False), (2, False), (75, True), (137, True)])
def test_only_outages_of_the_data_are_tried_again(code, retried):
    run = ex.run(ex.status(ex.attempt()), system={"name": "test", "nodes": 1})
    job = ex.job(ex.copying(0, finished=90, code=code), finished="Failed")
    failed = replace(run, status=decision(run, observed(job, log(whole=True))).status)
    result = decision(failed, observed(job, log(whole=True), recorded=ex.recorded(*failed.status.attempts)))
    assert ("CreateJob" in kinds(result.actions)) is retried


def test_a_queued_job_waits_for_its_queue_without_a_deadline():
    run = ex.run(ex.status(ex.attempt()), queueName="gpus")
    result = decision(run, observed(ex.job(suspended=True)), now=1e6)
    assert (str(result.status.attempts[0].state), result.status.attempts[0].reason) == ("Pending", "Queued")


def test_a_run_out_of_the_box_is_as_official_as_a_closed_one():
    tries = [converged(i, seconds) for i, seconds in enumerate([600, 660, 540, 720, 630], start=1)]
    for division, official in (("closed", True), ("outOfTheBox", True), ("open", False)):
        run = ex.run(ex.status(*tries), division=division, preset="full", quality=None, attempts=5,
                     data={"persistentVolumeClaim": {"claimName": "imagenet"}})  # fmt: skip
        assert decision(run, observed(result=STORED)).status.score.official == official


def test_what_a_log_prints_cannot_steer_a_terminal():
    """The last output of a failed try is in its message and failure, in the conditions and in an Event."""
    seen = observed(
        {FIRST: ex.job(ex.ended(0, 1), ex.ended(1))}, {FIRST: ex.log(tail="\x1b]0;owned\x07 and \u202e", whole=True)}
    )
    result = decision(ex.run(ex.status(ex.attempt()), max_retries=0), seen)
    failed = result.status.attempts[0]
    texts = [failed.message, failed.failure.message] + [c.message for c in result.status.conditions]
    assert "\ufffd]0;owned" in failed.message
    assert "\ufffd]0;owned" in failed.failure.message
    assert not any("\x1b" in text or "\u202e" in text for text in texts)
