"""Three values and evidence first: nothing follows from what is unknown, and nothing is deleted before it is recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from podium.api import AttemptState, Condition, Result, TryId
from podium.reconcile import CreateJob, DeleteJob, DropCheckpoint, Emit, ListPods, ReadLog, StoreAttempt, decide
from podium.rounds import load_rounds
from tests.unit.reconcile import examples as ex
from tests.unit.reconcile.examples import BAD, FIRST, GOOD, START, SUCCESS, T0, ended, log, observed

ROUNDS = load_rounds()
PODS = ex.job(ex.running(0), ex.running(1))
TRAINING = ex.attempt(state=AttemptState.TRAINING, start_time="2023-11-14T22:13:40.000Z", quality="0.55")
READY = ex.attempt(state=AttemptState.INITIALIZING)


def decided(attempt, seen, now, **changes):
    """The try of this id, and the actions."""
    result = decide(ex.run(ex.status(attempt), **changes), seen, ROUNDS, T0 + now)
    return result.status.attempts[0], [a for a in result.actions if not isinstance(a, Emit)], result


# ---- a log that has not been read ----


@pytest.mark.parametrize("before", [READY, TRAINING])
@pytest.mark.parametrize("now", [30, 400, 3700, 1e6])
def test_a_new_process_takes_the_status_as_truth_until_it_has_read_the_log(before, now):
    after, actions, result = decided(before, observed(PODS, log(known=None)), now)
    assert (after.state, after.quality) == (before.state, before.quality)
    assert not {type(a) for a in actions} - {ReadLog}
    assert result.wake_at is not None


@pytest.mark.parametrize("pods", [(), (ex.running(0),), (ex.running(0), ex.waiting(1, "ContainerCreating"))])
def test_a_try_whose_pods_had_started_does_not_wait_for_them_again(pods):
    """Until the Job says what has become of them."""
    for now in (30, 1e6):
        assert decided(READY, observed(ex.job(*pods), log()), now)[0] == READY.model_copy(update={"job_uid": "job"})


@pytest.mark.parametrize(
    ("before", "lines", "deadline", "reason"),
    [
        (READY, [], 310, "NoMLPerfLog"),
        (READY, [(12, "init_start", None)], 310, "InitDeadlineExceeded"),
        (READY, [BAD], 310, "LogLost"),  # its beginning was rotated away while nobody could read it
        (TRAINING, [START, BAD], 3620, "RunDeadlineExceeded"),
    ],
)
def test_a_deadline_is_judged_when_the_log_is_known_up_to_it(before, lines, deadline, reason):
    unread, actions, result = decided(before, observed(PODS, log(*lines, known=deadline - 1)), deadline + 5)
    assert (unread.state, actions) == (before.state, [ReadLog(FIRST)])
    assert result.wake_at == T0 + deadline + 10  # the log may never be read: ask again
    judged, _, _ = decided(before, observed(PODS, log(*lines, known=deadline)), deadline + 5)
    assert judged.reason == reason
    early, actions, _ = decided(before, observed(PODS, log(*lines, known=deadline)), deadline - 1)
    assert (early.state, actions) == (before.state, [])


@pytest.mark.parametrize("lines", [[], [START, GOOD]])
def test_there_is_no_verdict_from_a_log_that_ended_unread(lines):
    pods = ex.job(ended(0), ended(1))
    after, _, _ = decided(TRAINING, observed(pods, log(*lines, whole=True, known=None)), 110)
    assert after.state == "Training"


def test_a_log_that_no_longer_has_what_was_read_from_it_is_lost():
    after, _, _ = decided(TRAINING, observed(ex.job(ended(0), ended(1)), log(GOOD, SUCCESS, whole=True)), 110)
    assert (after.reason, after.failure.class_) == ("LogLost", "infrastructure")
    assert "no longer has the run_start of 2023-11-14T22:13:40.000Z" in after.message


# ---- a log that cannot be read ----


@pytest.mark.parametrize(("before", "now"), [(READY, 30), (READY, 1e6), (TRAINING, 30), (TRAINING, 1e6)])
def test_an_unreadable_log_is_visible_and_holds_up_its_deadlines(before, now):
    cause = "Get https://node-7:10250: connection refused"
    after, actions, result = decided(before, observed(PODS, log(known=20, unreadable=cause)), now)
    assert (after.state, after.reason, after.message) == (before.state, "LogUnreadable", cause)
    assert actions == []
    running = result.status.condition("Running")
    assert (running.status, running.reason, running.message) == ("True", "LogUnreadable", f"attempt 1 of 1: {cause}")
    again, _, _ = decided(after, observed(PODS, log(START if before is TRAINING else (12, "x", None))), 30)
    assert (again.state, again.reason) == (before.state, None)  # no trace once it can be read again


def test_an_unreadable_log_is_bounded_by_its_container():
    pods = ex.job(ended(0, None, stopped="Deleted"), ended(1, None, stopped="Deleted"), finished="Failed")
    unread = log(START, unreadable="timeout")
    assert decided(TRAINING, observed(pods, unread), 110)[0].state == "Training"
    lost = replace(unread, ended=True, lost="the node does not answer")
    assert decided(TRAINING, observed(pods, lost), 110)[0].reason == "PodLost"


@pytest.mark.parametrize(
    "job", [ex.job(ended(0, None, stopped="DeletionByPodGC")), ex.job(suspended=True), ex.job(finished="Failed")]
)
def test_a_try_is_not_judged_before_what_an_earlier_process_read_is_here(job):
    """It may have seen run_stop, and its machine may be gone since."""
    unread = replace(log(), restored=False)
    after, actions, result = decided(TRAINING, observed(job, unread), 1e6)
    assert (after.state, actions) == ("Training", [])
    assert result.wake_at == T0 + 1e6 + 5


# ---- a watch that is late ----

COPIES = ex.job(ex.copying(0), ex.copying(1))
NO_SECRET = ex.job(ex.waiting(0, "CreateContainerConfigError", since=600))


@pytest.mark.parametrize(
    ("job", "deadline", "before", "after"),
    [
        (ex.job(), 600, "Pending", "PendingDeadlineExceeded"),
        (ex.job(ex.waiting(0, "ErrImagePull")), 600, "Pending", "ImagePullFailed"),
        (COPIES, 1810, "Staging", "StageDeadlineExceeded"),
        (NO_SECRET, 660, "Pending", "PodCannotStart"),
        (ex.job(suspended=True), 3600, "Queued", "QueuedDeadlineExceeded"),
    ],
)
def test_pods_are_missing_only_if_they_are_known_up_to_the_deadline(job, deadline, before, after):
    limits = {"pending": "10m", "stage": "30m", "init": "5m", "run": "1h", "queued": "1h"}
    late = observed(job, pods_known_until=T0 + deadline - 1)
    waits, actions, result = decided(ex.attempt(), late, deadline + 1, deadlines=limits)
    assert (waits.reason, actions, result.wake_at) == (before, [ListPods()], T0 + deadline + 6)
    known = observed(job, pods_known_until=T0 + deadline)
    assert decided(ex.attempt(), known, deadline + 1, deadlines=limits)[0].reason == after
    assert decided(ex.attempt(), late, deadline - 1, deadlines=limits)[1] == []


@pytest.mark.parametrize("watched", [ex.job(finished="Failed"), ex.job(ex.running(0), finished="Failed")])
def test_a_failed_job_is_explained_by_its_pods_even_if_their_watch_is_late(watched):
    lines = log((12, "x", None), whole=True)
    waits, actions, result = decided(ex.attempt(), observed(watched, lines, pods_known_until=0.0), 30)
    assert (waits.state, actions, result.wake_at) == ("Pending", [ListPods()], T0 + 35)
    crashed = ex.job(ended(0, 1), ended(1, 1), finished="Failed")
    listed = observed(crashed, lines, pods_known_until=T0 + 30)
    assert decided(ex.attempt(), listed, 30)[0].reason == "ProgramFailed"
    gone = observed(watched, lines, pods_known_until=T0 + 30)
    assert decided(ex.attempt(), gone, 30)[0].reason == "PodLost"


def test_a_line_is_missing_only_if_the_end_of_its_program_would_be_known():
    """A program that crashed has not exceeded a deadline, whatever the watch shows."""
    late = observed(PODS, log((12, "init_start", None)), pods_known_until=T0 + 309)
    waits, actions, result = decided(READY, late, 311)
    assert (waits.state, actions, result.wake_at) == ("Initializing", [ListPods()], T0 + 316)
    crashed = ex.job(ended(0, 1, finished=100), ended(1, 1, finished=100), finished="Failed")
    known = observed(crashed, log((12, "init_start", None), whole=True), pods_known_until=T0 + 311)
    assert decided(READY, known, 311)[0].reason == "ProgramFailed"


@pytest.mark.parametrize(("before", "deadline"), [(READY, 311), (TRAINING, 3621)])
def test_a_deadline_that_passes_while_a_node_is_silent_is_the_nodes_fault(before, deadline):
    """The other ranks wait for the lost one; its pod is evicted minutes later."""
    lost = ex.job(ex.running(0), replace(ex.running(1), node_lost=True, node="node-8"))
    assert decided(before, observed(lost, log()), deadline - 2)[0].state == before.state
    ends = decided(before, observed(lost, log()), deadline)[0]
    assert (ends.reason, ends.failure.node) == ("NodeLost", "node-8")


# ---- a Job that is not there ----


def test_nothing_is_concluded_from_a_missing_job_unless_jobs_are_known():
    gone = observed(None, log(START, whole=True))
    after, actions, _ = decided(TRAINING, replace(gone, jobs_known=False), 110)
    assert (after, actions) == (TRAINING, [])
    assert decided(TRAINING, gone, 110)[0].reason == "JobLost"


def test_no_job_is_created_and_no_run_ends_while_jobs_are_unknown():
    unknown = observed(jobs_known=False)
    assert decide(ex.run(), unknown, ROUNDS, T0).actions == ()
    done = ex.run(ex.status(ex.converged(1, 40)))
    assert not decide(done, replace(unknown, result=ex.RESULT), ROUNDS, T0).status.terminal
    assert decide(done, observed(result=ex.RESULT), ROUNDS, T0).status.terminal


def test_a_converged_attempt_does_not_become_lost_with_its_job():
    read = log(START, GOOD, SUCCESS, whole=True, known=None, lost="its pod is gone")
    assert decided(TRAINING, observed(None, read), 110)[0].reason == "TargetReached"


def test_a_job_with_another_uid_is_not_that_of_the_try():
    before = TRAINING.model_copy(update={"job_uid": "mine"})
    seen = observed(ex.job(ex.running(0), ex.running(1), uid="other"), log(START, whole=True))
    assert decided(before, seen, 110)[0].reason == "JobLost"
    assert decided(TRAINING, seen, 110)[0].job_uid == "other"


# ---- evidence first ----

HANGS = observed(PODS, log(START, GOOD, SUCCESS, whole=True))
DONE = ex.converged(1, 40)


@pytest.mark.parametrize(
    "recorded",
    [
        {},
        ex.recorded(TRAINING),
        ex.recorded(DONE.model_copy(update={"stored": False})),
        ex.recorded(TRAINING.model_copy(update={"stored": True})),
    ],
)
def test_a_job_is_deleted_only_when_the_written_status_says_that_its_try_is_stored(recorded):
    left = frozenset({FIRST})
    _, actions, result = decided(DONE, replace(HANGS, recorded=recorded, checkpoints=left), 500)
    assert actions == []
    assert not result.status.terminal
    seen = replace(HANGS, recorded=ex.recorded(DONE), checkpoints=left)
    assert decided(DONE, seen, 500)[1] == [DeleteJob(FIRST), DropCheckpoint(FIRST)]


def test_checkpoints_go_after_the_end_as_well():
    """The last try is often recorded as stored together with the end of the run."""
    complete = Condition(type="Complete", status="True", reason="Scored", last_transition_time="2026-01-01T00:00:00Z")
    ended = ex.run(ex.status(DONE).model_copy(update={"conditions": (complete,)}))
    seen = replace(HANGS, jobs={}, recorded=ex.recorded(DONE), checkpoints=frozenset({FIRST}), end_recorded=True)
    assert decide(ended, seen, ROUNDS, T0 + 500).actions == (DropCheckpoint(FIRST),)
    unwritten = replace(seen, end_recorded=False)
    assert decide(ended, unwritten, ROUNDS, T0 + 500).actions == ()
    assert decide(replace(ended, deleted=True), unwritten, ROUNDS, T0 + 500).actions == (DropCheckpoint(FIRST),)
    deleted = replace(ex.run(ex.status(DONE)), deleted=True)
    assert DropCheckpoint(FIRST) not in decide(deleted, seen, ROUNDS, T0 + 500).actions
    result = Result(uri="s3://results/lab", sha256="0" * 64)
    assert decide(deleted, replace(seen, result=result), ROUNDS, T0 + 500).actions == (DropCheckpoint(FIRST),)


def test_a_try_is_stored_when_it_ends_and_its_job_stays():
    after, actions, _ = decided(TRAINING, replace(HANGS, recorded=ex.recorded(TRAINING)), 500)
    assert actions == [StoreAttempt(after, concluding=True)]


@pytest.mark.parametrize(
    ("job", "deleted", "waits"),
    [
        (ex.job(ended(0), ended(1), finished="Complete"), False, False),
        (ex.job(ended(0), ended(1)), False, True),  # its status lags behind
        (ex.job(ended(0, finished=50), ended(1, finished=50)), True, False),  # it does not end, such as on a dead node
        (ex.job(ended(0), ended(1, sidecar="proxy")), True, False),
        (ex.job(ended(0), ended(1), suspended=True), True, False),  # a queue would admit it again
        (ex.job(suspended=True), True, False),
        (ex.job(ex.waiting(0, "Unschedulable")), True, False),
        (ex.job(ex.running(0), ex.running(1), deleting=True), False, False),
    ],
)
def test_a_finished_try_leaves_no_job_that_could_hold_machines(job, deleted, waits):
    _, actions, result = decided(DONE, observed(job, recorded=ex.recorded(DONE), result=ex.RESULT), 110)
    assert (DeleteJob(FIRST) in actions) is deleted
    if waits:
        assert result.wake_at == T0 + 130
    assert result.status.terminal is not job.may_run(2)  # terminal: nothing of ours can run again
    done = decide(ex.run(ex.status(DONE)), observed(result=ex.RESULT), ROUNDS, T0).status
    written = observed(job, end_recorded=True)
    assert (decide(ex.run(done), written, ROUNDS, T0 + 110).actions == (DeleteJob(FIRST),)) is deleted


def test_a_program_that_never_ran_leaves_no_evidence_that_a_store_could_keep():
    """So its machines do not wait for a store that is down; its end must stand in the status, though."""
    before = ex.attempt(state=AttemptState.ABORTED, reason="Suspended")
    for job, deleted in ((ex.job(ex.copying(0)), True), (ex.job(ex.copying(0), ex.running(1)), False)):
        seen = observed(job, recorded=ex.recorded(before), store_error="s3://b: away")
        assert (DeleteJob(FIRST) in decided(before, seen, 110)[1]) is deleted
        assert DeleteJob(FIRST) not in decided(before, observed(job), 110)[1]
    inherited = replace(observed(ex.job(ex.copying(0))), recorded=ex.recorded(before), checkpoints=frozenset({FIRST}))
    assert DeleteJob(FIRST) not in decided(before, inherited, 110)[1], "an earlier process may have seen it run"


def test_the_next_attempt_waits_until_the_machines_are_free():
    job = ex.job(ended(0), ended(1, sidecar="proxy"))
    for left, actions in ((job, [DeleteJob(FIRST)]), (None, [CreateJob(TryId(attempt=2, number=0))])):
        seen = observed(left, recorded=ex.recorded(DONE))
        assert decided(DONE, seen, 110, attempts=2)[1] == actions


def test_a_job_that_comes_to_life_after_the_end_is_deleted():
    done = decide(ex.run(ex.status(DONE)), observed(result=ex.RESULT), ROUNDS, T0).status
    assert done.terminal
    ghosts = {FIRST: PODS, TryId(attempt=9, number=3): ex.job(suspended=True)}
    written = observed(ghosts, end_recorded=True)
    assert decide(ex.run(done), written, ROUNDS, T0).actions == tuple(map(DeleteJob, ghosts))
    assert decide(ex.run(done), replace(written, jobs={FIRST: ex.job(finished="Complete")}), ROUNDS, T0).actions == ()


def test_nothing_is_deleted_while_the_status_of_the_end_could_not_be_written():
    """A process that dies now leaves a try in training, whose Job its successor would miss."""
    done = decide(ex.run(ex.status(DONE)), observed(result=ex.RESULT), ROUNDS, T0).status
    ended = ex.run(done, ttlSecondsAfterFinished=0)
    for before in ((), (TRAINING,), (DONE.model_copy(update={"stored": False}),), done.attempts):
        assert decide(ended, observed(PODS, recorded=ex.recorded(*before)), ROUNDS, T0 + 900).actions == ()


def test_a_run_that_is_being_deleted_gets_no_new_jobs_and_gives_its_machines_back():
    lost = ex.attempt(1, AttemptState.FAILED, reason="NodeLost", stored=True)
    gone = replace(ex.run(ex.status(lost), attempts=5), deleted=True)
    assert not [a for a in decide(gone, observed(), ROUNDS, T0).actions if isinstance(a, CreateJob)]
    stopped = ex.attempt(state=AttemptState.ABORTED, reason="RunDeleted", stored=True)
    kept = replace(ex.run(ex.status(stopped)), deleted=True)  # a finalizer keeps the run, and so its Job
    seen = observed(PODS, log(START), result=ex.RESULT)
    assert decide(kept, seen, ROUNDS, T0).actions == (DeleteJob(FIRST),)
