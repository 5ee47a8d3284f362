"""The life of one try: derives its state from its Job, its containers and its log."""

from __future__ import annotations

from podium.api import AttemptState, AttemptStatus, BenchmarkRunSpec, Reason, duration_seconds, rfc3339
from podium.mllog import LogSummary, seconds
from podium.reconcile.failure import failed, failed_container
from podium.reconcile.model import ObservedJob, ObservedLog
from podium.reconcile.starting import starting
from podium.reconcile.step import Step, move, move_to, no_log_text
from podium.rules import Goal, judge

# How long containers may keep running after run_stop.
LEAVE_SECONDS = 300
# A run_start may precede the container's start by this much before its clock counts as wrong.
CLOCK_TOLERANCE_SECONDS = 2.0


def advance(
    attempt: AttemptStatus, job: ObservedJob | None, log: ObservedLog, *, spec: BenchmarkRunSpec, goal: Goal, now: float
) -> Step:
    """Return the state of an unfinished try, from what is observed of it now."""
    attempt = _measured(attempt, log.summary, goal)
    if job is None:
        return Step(_without_job(attempt, log, goal))
    if log.ended and (job.finished or job.exited(spec.system.nodes)):
        return Step(_ended(attempt, job, log, goal))
    if job.suspended:
        return Step(move_to(attempt, Reason.QUEUED, "waiting for its queue to admit the Job"))
    if log.summary.run_stop is not None:
        return _stopped(attempt, job, log, goal, now)
    if log.summary.run_start is not None:
        return _training(attempt, log.summary, spec, now)
    return starting(attempt, job, log, spec, now)


def _without_job(attempt: AttemptStatus, log: ObservedLog, goal: Goal) -> AttemptStatus:
    """Handle a missing Job; its output may still be arriving."""
    if not log.ended:
        return attempt
    if log.summary.run_stop is not None:
        return _judged(attempt, None, log, goal)
    return move_to(attempt, Reason.JOB_LOST, "its Job was deleted before run_stop")


def _ended(attempt: AttemptStatus, job: ObservedJob, log: ObservedLog, goal: Goal) -> AttemptStatus:
    """Every container has exited and the log is complete. Nothing after run_stop matters anymore."""
    first = failed_container(job)
    if log.summary.run_stop is None and (first or job.finished == "Failed"):
        return failed(attempt, job, first, log)
    return _judged(attempt, job, log, goal)


def _stopped(attempt: AttemptStatus, job: ObservedJob, log: ObservedLog, goal: Goal, now: float) -> Step:
    """After run_stop, wait until the containers have exited."""
    leave_by = (log.summary.run_stop or now) + LEAVE_SECONDS
    if now >= leave_by:
        return Step(_judged(attempt, job, log, goal))
    return Step(move(attempt, AttemptState.TRAINING), leave_by)


def _training(attempt: AttemptStatus, summary: LogSummary, spec: BenchmarkRunSpec, now: float) -> Step:
    limit = spec.deadlines.run
    deadline = (summary.run_start or now) + duration_seconds(limit)
    if now >= deadline:
        message = f"no run_stop within {limit} of run_start; raise spec.deadlines.run if training needs longer"
        return Step(move_to(attempt, Reason.RUN_DEADLINE_EXCEEDED, message))
    return Step(move(attempt, AttemptState.TRAINING), deadline)


def _judged(attempt: AttemptStatus, job: ObservedJob | None, log: ObservedLog, goal: Goal) -> AttemptStatus:
    """Return the outcome of a try with a complete log, from the log and from what only the operator knows."""
    verdict = judge(log.summary, goal)
    unreadable = f"; {log.problem}" if log.problem else ""
    if verdict.reason is Reason.NO_MLPERF_LOG:
        return move_to(attempt, verdict.reason, no_log_text(log, "before it ended") + unreadable)
    early = _early_start(log.summary, job)
    if early or verdict.seconds is None:
        attempt = attempt.model_copy(update={"time_to_train_seconds": None})
    if early and verdict.state is not AttemptState.INVALID:
        return move_to(attempt, Reason.CLOCK_INVALID, early + unreadable)
    return move_to(
        attempt, verdict.reason, verdict.text + (unreadable if verdict.state is AttemptState.INVALID else "")
    )


def _early_start(summary: LogSummary, job: ObservedJob | None) -> str:
    """Return a message if the log's clock started before its container did; empty if it did not."""
    rank0 = job.container(0) if job else None
    if not (rank0 and rank0.started and summary.run_start):
        return ""
    early = rank0.started - summary.run_start
    if early <= CLOCK_TOLERANCE_SECONDS:
        return ""
    return f"run_start is {early:.1f} s before the container started; check the clocks of the node and the trainer"


def _measured(attempt: AttemptStatus, summary: LogSummary, goal: Goal) -> AttemptStatus:
    """Set the status fields that come from the log."""
    changes: dict[str, object] = {}
    if summary.run_start is not None:
        changes["start_time"] = rfc3339(summary.run_start, milliseconds=True)
    if summary.evaluations:
        last = summary.evaluations[-1]
        changes["quality"] = goal.render(summary, last)
        if last.epoch is not None:
            changes["epochs"] = f"{last.epoch:g}"
    if summary.energy_joules is not None:
        changes["energy_joules"] = f"{summary.energy_joules:.0f}"
    elapsed = seconds(summary, goal.timed_by)
    if elapsed is not None:
        changes["time_to_train_seconds"] = f"{elapsed:.3f}"
    return attempt.model_copy(update=changes) if changes else attempt
