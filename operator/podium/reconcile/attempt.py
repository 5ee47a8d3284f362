"""The life of one try: derives its state from its Job, its containers and its log.

Nothing follows from what is unknown. A line counts as missing only if the log has been read up to the time by which it
had to be there, and what the status recorded stands until the log has been read.
"""

from __future__ import annotations

import math
from dataclasses import replace

from podium.api import AttemptState, AttemptStatus, Reason, duration_seconds, rfc3339
from podium.mllog import LogSummary, seconds
from podium.reconcile.failure import awaits_cause, failed, first_failure, silent_node
from podium.reconcile.model import ObservedJob, ObservedLog
from podium.reconcile.starting import starting
from podium.reconcile.step import (
    READ_AGAIN_SECONDS,
    Look,
    Step,
    listed,
    move,
    move_to,
    no_log_text,
    tail_text,
    until,
)
from podium.reconcile.text import known_time
from podium.rules import Goal, Verdict, clock_fault, judge

# How long containers may keep running after run_stop, or after one of them has failed.
LEAVE_SECONDS = 300
# Nothing more can be measured once rank 0 has ended without an error; the others often hang then.
_LEAVE_AFTER_RANK0_SECONDS = 60
# A run_start may precede the container's start by this much before its clock counts as wrong.
CLOCK_TOLERANCE_SECONDS = 2.0
# A user's suspension waits for a log that has not been read for this long.
FRESH_SECONDS = 30.0

_LAST_TIME = 253402300799.0  # the end of the year 9999, where calendars end


def advance(attempt: AttemptStatus, job: ObservedJob | None, look: Look) -> Step:
    """Return the state of an unfinished try, from what is observed of it now. A `job` of None does not exist."""
    log = look.log
    if not log.restored:  # perhaps its run_stop was seen before its machine was lost
        return Step(attempt, look.now + READ_AGAIN_SECONDS)
    attempt = measured(attempt, log.summary, look.goal)
    if job is None:
        return Step(_without_job(attempt, log, look.goal))
    if log.overflow:
        return Step(move_to(attempt, Reason.LOG_TOO_LONG, "the MLPerf lines of rank 0 exceed the limit of 64 MiB"))
    if not _has_measured(log.summary, look.goal):
        if job.suspended:
            return _queued(attempt, job, look)
        if _was_suspended(job):
            rank0 = job.container(0)
            return _taken_back(attempt, job, look, ending=rank0 is not None and rank0.finished is not None)
    return _launched(attempt, job, look)


def _launched(attempt: AttemptStatus, job: ObservedJob, look: Look) -> Step:
    """Advance a try whose Job may have pods."""
    log = look.log
    if log.summary.run_stop is None and _has_measured(log.summary, look.goal):
        return Step(_judged(attempt, job, log, look.goal))
    unexplained = job.finished == "Failed" and log.summary.run_stop is None and first_failure(job) is None
    if unexplained and not look.pods_known_until:  # the watch of the pods may be later than that of the Jobs
        return Step(attempt, look.now + READ_AGAIN_SECONDS, list_pods=True)
    undecided = log.summary.run_stop is None and awaits_cause(job)
    if log.complete and (job.finished or (job.exited(look.spec.system.nodes) and not undecided)):
        return Step(_ended(attempt, job, look))
    if log.summary.run_stop is not None:
        return _stopped(attempt, job, look)
    if first_failure(job) or log.complete:
        return _ending(attempt, job, look)
    return _training(attempt, job, look) if _is_timed(attempt) else starting(attempt, job, look)


def suspended_by_user(attempt: AttemptStatus, job: ObservedJob | None, look: Look) -> Step | None:
    """Return what becomes of an unfinished try when spec.suspend is true; None if it goes on.

    A try whose clock has stopped goes on to its end. One whose clock runs has lost: if stopping it were free, an
    attempt could be repeated until its time is good. One whose clock has not started costs nothing. Without its Job
    nobody knows that, so that a try is lost as without spec.suspend.
    """
    log, now = look.log, look.now
    if job is None or _has_measured(log.summary, look.goal):
        return None
    has_started = any(c.node_index == 0 and c.started is not None for c in job.containers)
    if (has_started or _is_timed(attempt)) and not log.complete and now - log.known_until > FRESH_SECONDS:
        return Step(attempt, now + READ_AGAIN_SECONDS, read=True)  # run_start or run_stop may be there unread
    if _is_timed(attempt):
        message = "spec.suspend was set between run_start and run_stop; a timed attempt is not repeated"
        return Step(move_to(attempt, Reason.SUSPENDED_IN_TRAINING, message))
    return Step(move_to(attempt, Reason.SUSPENDED, "will be repeated when the run is resumed"))


def _is_timed(attempt: AttemptStatus) -> bool:
    """Return whether run_start was logged, according to the log or to what the status recorded of it."""
    return attempt.start_time is not None or attempt.state is AttemptState.TRAINING


def _has_measured(summary: LogSummary, goal: Goal) -> bool:
    """Return whether everything to be measured is in the log: nothing after it matters anymore."""
    rate = goal.rate(summary)
    return summary.run_stop is not None or (rate is not None and rate.is_whole)


def _without_job(attempt: AttemptStatus, log: ObservedLog, goal: Goal) -> AttemptStatus:
    """Handle a missing Job; its output may still be arriving."""
    if not log.complete:
        return attempt
    if _has_measured(log.summary, goal):
        return _judged(attempt, None, log, goal)
    return move_to(attempt, Reason.JOB_LOST, "its Job was deleted before run_stop")


def _queued(attempt: AttemptStatus, job: ObservedJob, look: Look) -> Step:
    """Handle a suspended Job: it waits for its queue, or the queue has taken its machines away."""
    spec = look.spec
    begun = _is_timed(attempt) or attempt.state is AttemptState.INITIALIZING
    if begun or any(c.started is not None for c in job.containers):
        return _taken_back(attempt, job, look, ending=job.container(0) is not None)
    waits = "waiting for its queue to admit the Job"
    if not (job.queue or spec.queue_name):
        waits = "the Job is suspended, and spec.queueName names no queue that would admit it"
    if spec.deadlines.queued:
        # a Job that was admitted and taken back before it started has come to the queue once more
        deadline = max(job.created, job.suspended_since or 0.0) + duration_seconds(spec.deadlines.queued)
        message = f"the queue did not admit the Job within {spec.deadlines.queued} (spec.deadlines.queued)"
        step = listed(attempt, Reason.QUEUED, waits, deadline, look)
        return step or Step(move_to(attempt, Reason.QUEUED_DEADLINE_EXCEEDED, message))
    return Step(move_to(attempt, Reason.QUEUED, waits))


def _was_suspended(job: ObservedJob) -> bool:
    """Return whether the Job was suspended and admitted again unseen, perhaps while its pods were still ending.

    A Job is admitted when it is created or resumed: pods that were deleted before that belong to an earlier time.
    """
    if job.restarted:
        return True
    return job.admitted is not None and any(
        c.deleted is not None and c.started is not None and c.deleted < job.admitted for c in job.containers
    )


def _taken_back(attempt: AttemptStatus, job: ObservedJob, look: Look, *, ending: bool) -> Step:
    """Handle a Job that was suspended after its pods had started. If rank 0 is `ending`, its log is read first."""
    if ending and not look.log.complete:  # its last lines may contain run_stop
        return Step(attempt, look.now + READ_AGAIN_SECONDS)
    reason = Reason.PREEMPTED if job.queue or look.spec.queue_name else Reason.JOB_SUSPENDED
    return Step(move_to(attempt, reason, "the Job was suspended after its pods had started"))


def _ended(attempt: AttemptStatus, job: ObservedJob, look: Look) -> AttemptStatus:
    """No more lines can come. Nothing after run_stop matters anymore."""
    log = look.log
    if log.summary.run_stop is None:
        first = first_failure(job)
        if first or job.finished == "Failed":
            return failed(attempt, job, first, log)
        if log.lost:
            return move_to(attempt, Reason.LOG_LOST, log.lost)
    return _judged(attempt, job, log, look.goal)


def _stopped(attempt: AttemptStatus, job: ObservedJob, look: Look) -> Step:
    """After run_stop, wait until the containers have exited."""
    at_latest = _clock_start(attempt, job, look) + duration_seconds(look.spec.deadlines.run)
    leave_by = min(look.log.summary.run_stop or look.now, at_latest) + LEAVE_SECONDS
    if look.now >= leave_by:
        return Step(_judged(attempt, job, look.log, look.goal))
    return Step(move(attempt, AttemptState.TRAINING), leave_by)


def _ending(attempt: AttemptStatus, job: ObservedJob, look: Look) -> Step:
    """A container has failed, or rank 0 has ended without run_stop: give the others some time to end, too.

    What ended first is often not the cause: when a node dies, the other ranks fail within seconds, and the loss of the
    node is noticed a minute later. A pod that was taken away is the cause itself, and the others may hang for it.
    """
    first, rank0 = first_failure(job), job.container(0)
    ended = first or rank0
    since = ended and (ended.seen_ended or ended.finished)
    if rank0 and rank0.started is None and not look.log.summary.lines:  # there is nothing to read
        look = replace(look, log=replace(look.log, known_until=look.now))
    state = AttemptState.TRAINING if _is_timed(attempt) else attempt.state
    if first and first.node_lost and first.node_index == 0:
        return Step(_ended(attempt, job, look))  # nobody can read its log any more
    leave = LEAVE_SECONDS if first else _LEAVE_AFTER_RANK0_SECONDS
    if first and (first.node_lost or first.disruption):
        leave = 0
    if step := until(attempt, state, (since or 0.0) + leave, look):
        return step
    silent = silent_node(job)
    return Step(failed(attempt, job, silent, look.log) if silent else _ended(attempt, job, look))


def _training(attempt: AttemptStatus, job: ObservedJob, look: Look) -> Step:
    limits, window = look.spec.deadlines, look.goal.window
    start = _clock_start(attempt, job, look)
    over, hung = start + duration_seconds(limits.run), _silence_ends(look)
    deadline = min(over, hung)
    if window and look.now < deadline:  # the line that ends it may come at any time once the window is over
        due = min(start + window.warmup + (window.seconds or 0.0), deadline)
        stale = look.log.known_until < look.now - READ_AGAIN_SECONDS
        step = until(attempt, AttemptState.TRAINING, due, look)
        return step or Step(move(attempt, AttemptState.TRAINING), look.now + READ_AGAIN_SECONDS, read=stale)
    if step := until(attempt, AttemptState.TRAINING, deadline, look):
        return step
    if silent := silent_node(job):
        return Step(failed(attempt, job, silent, look.log))
    if hung < over:
        message = f"rank 0 has printed nothing for {limits.silence} (spec.deadlines.silence){tail_text(look.log)}"
        return Step(move_to(attempt, Reason.NO_PROGRESS, message))
    missing = "the end of spec.measure was not reached" if window else "no run_stop"
    message = f"{missing} within {limits.run} of run_start; raise spec.deadlines.run if training needs longer"
    if early := _early_start(look.log, job):
        return Step(move_to(attempt, Reason.CLOCK_INVALID, f"{early}; {message}"))
    return Step(move_to(attempt, Reason.RUN_DEADLINE_EXCEEDED, message))


def _silence_ends(look: Look) -> float:
    """Return until when rank 0 may be silent.

    A line counts from when it was received: this process may have begun late to read, but no clock of a node matters.
    """
    limit, heard = look.spec.deadlines.silence, look.log.heard
    return math.inf if limit is None or heard is None else heard + duration_seconds(limit)


def _clock_start(attempt: AttemptStatus, job: ObservedJob, look: Look) -> float:
    """Return when run_start was logged, on the cluster's clock.

    It comes after the start of rank 0's container, and within the deadlines before it. A stamp outside of that is from
    a node with a wrong clock, which must neither end a healthy attempt nor keep a hanging one. Nor is it later than the
    line was received, or earlier than it can have been printed.
    """
    limits, rank0 = look.spec.deadlines, job.container(0)
    earliest = max(job.launched, (rank0 and rank0.came_up) or 0.0)
    latest = job.launched + sum(map(duration_seconds, (limits.pending, limits.stage, limits.pending, limits.init)))
    stamp = look.log.summary.run_start
    if stamp is None:
        stamp = known_time(attempt.start_time)
    if (seen := look.log.sightings.start(stamp)) and seen.received is not None:
        printed = seen.received if seen.delay is None else seen.received - seen.delay
        stamp = min(max(seen.stamp, printed), seen.received)
    return latest if stamp is None else min(max(stamp, earliest), latest)


def _judged(attempt: AttemptStatus, job: ObservedJob | None, log: ObservedLog, goal: Goal) -> AttemptStatus:
    """Return the outcome of a try with a complete log, from the log and from what only the operator knows."""
    if attempt.start_time is not None and log.summary.run_start is None:
        message = f"the log no longer has the run_start of {attempt.start_time} that was read from it"
        return move_to(attempt, Reason.LOG_LOST, message)
    verdict = judge(log.summary, goal)
    if verdict.rate:
        attempt = attempt.model_copy(update={"samples_per_second": f"{verdict.rate.per_second:.6g}"})
    if verdict.converged and goal.has_reference:
        attempt = _converged_after(attempt, log.summary, goal)
    unreadable = f"; {log.problem}" if log.problem else ""
    if verdict.reason is Reason.NO_MLPERF_LOG:
        return move_to(attempt, verdict.reason, no_log_text(log, "before it ended") + unreadable)
    wrong = _wrong_clock(verdict, log, job)
    if wrong or verdict.seconds is None:
        attempt = attempt.model_copy(update={"time_to_train_seconds": None})
    if wrong:
        reason, message = wrong
        return move_to(attempt, reason, message + unreadable)
    return move_to(
        attempt, verdict.reason, verdict.text + (unreadable if verdict.state is AttemptState.INVALID else "")
    )


def _converged_after(attempt: AttemptStatus, summary: LogSummary, goal: Goal) -> AttemptStatus:
    """Set what is compared with the reference convergence points of the round."""
    after = goal.converged_after(summary)
    return attempt.model_copy(
        update={
            "converged_after": None if after is None else f"{after:.12g}"[:32],
            "batch_size": summary.global_batch_size,
        }
    )


def _wrong_clock(verdict: Verdict, log: ObservedLog, job: ObservedJob | None) -> tuple[Reason, str] | None:
    """Return why the times of a log are wrong, if that is not what it was judged by anyway.

    A clock that steps makes an honest log look like one that breaks the rules of the clock.
    """
    fault = clock_fault(log.summary, log.sightings)
    if fault and fault[0] is Reason.NODE_CLOCK_STEPPED:
        blamed = verdict.converged or verdict.reason in (Reason.CLOCK_INVALID, Reason.INIT_TOO_LONG)
        return fault if blamed else None
    if verdict.state is AttemptState.INVALID:
        return None
    early = _early_start(log, job)
    return fault or ((Reason.CLOCK_INVALID, early) if early else None)


def _early_start(log: ObservedLog, job: ObservedJob | None) -> str:
    """Return a message if the log's clock started before its container did; empty if it did not.

    Both have the node's clock. That it differs from the cluster's does not matter: times are differences. Where the
    container runtime says when the line was printed, that is the better evidence: the clock may have stepped before it.
    """
    summary, start = log.summary, log.sightings.start(log.summary.run_start)
    if job is None or summary.run_start is None or (start and start.printed is not None):
        return ""
    rank0 = job.container(0)
    node = f" {rank0.node}" if rank0 and rank0.node else ""
    if rank0 and rank0.started and (early := rank0.started - summary.run_start) > CLOCK_TOLERANCE_SECONDS:
        clocks = f"check the clocks of the node{node} and the trainer"
        return f"run_start is {early:.1f} s before the container started; {clocks}"
    return ""


def measured(attempt: AttemptStatus, summary: LogSummary, goal: Goal) -> AttemptStatus:
    """Set the status fields that come from the log."""
    changes: dict[str, object] = {}
    if summary.run_start is not None:
        changes["start_time"] = rfc3339(min(max(summary.run_start, 0.0), _LAST_TIME), milliseconds=True)
    if summary.evaluations:
        last = summary.evaluations[-1]
        changes["quality"] = goal.render(summary, last)[:64]
        if last.epoch is not None:
            changes["epochs"] = f"{last.epoch:g}"
    if summary.energy_joules is not None:
        changes["energy_joules"] = f"{summary.energy_joules:.0f}"[:32]
    elapsed = None if goal.window else seconds(summary, goal.timed_by)
    if elapsed is not None:
        changes["time_to_train_seconds"] = f"{elapsed:.3f}"
    if all(getattr(attempt, name) == value for name, value in changes.items()):
        return attempt
    return attempt.model_copy(update=changes)
