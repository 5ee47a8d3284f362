"""The life of one try: from its Job, its containers and its log to its state."""

from __future__ import annotations

from podium.api import AttemptState, AttemptStatus, BenchmarkRunSpec, Reason, duration_seconds, rfc3339
from podium.mllog import LogSummary, seconds
from podium.reconcile.failure import failed, failed_container
from podium.reconcile.model import ObservedJob, ObservedLog
from podium.reconcile.starting import starting
from podium.reconcile.step import Step, move, move_to, no_log_text
from podium.rules import Goal, judge

# How long containers may run on after run_stop.
LEAVE_SECONDS = 300
# A log may be this much ahead of its container's start before its clock is called wrong.
CLOCK_TOLERANCE_SECONDS = 2.0


def advance(
    attempt: AttemptStatus, job: ObservedJob | None, log: ObservedLog, *, spec: BenchmarkRunSpec, goal: Goal, now: float
) -> Step:
    """The state of a try that has not finished, from what is seen of it now."""
    attempt = _measured(attempt, log.summary, goal)
    if job is None:
        return Step(_without_job(attempt, log, goal))
    if log.ended and (job.finished or job.left(spec.system.nodes)):
        return Step(_ended(attempt, job, log, goal))
    if job.suspended:
        return Step(move_to(attempt, Reason.QUEUED, "waits for its queue to admit the Job"))
    if log.summary.run_stop is not None:
        return _stopped(attempt, job, log, goal, now)
    if log.summary.run_start is not None:
        return _training(attempt, log.summary, spec, now)
    return starting(attempt, job, log, spec, now)


def _without_job(attempt: AttemptStatus, log: ObservedLog, goal: Goal) -> AttemptStatus:
    """The Job is gone; what was printed may still be arriving."""
    if not log.ended:
        return attempt
    if log.summary.run_stop is not None:
        return _judged(attempt, None, log, goal)
    return move_to(attempt, Reason.JOB_LOST, "its Job was deleted before run_stop")


def _ended(attempt: AttemptStatus, job: ObservedJob, log: ObservedLog, goal: Goal) -> AttemptStatus:
    """Every container has left and the log is whole. What happens after run_stop does not matter any more."""
    first = failed_container(job)
    if log.summary.run_stop is None and (first or job.finished == "Failed"):
        return failed(attempt, job, first, log)
    return _judged(attempt, job, log, goal)


def _stopped(attempt: AttemptStatus, job: ObservedJob, log: ObservedLog, goal: Goal, now: float) -> Step:
    """After run_stop, until the containers have left."""
    leave_by = (log.summary.run_stop or now) + LEAVE_SECONDS
    if now >= leave_by:
        return Step(_judged(attempt, job, log, goal))
    return Step(move(attempt, AttemptState.TRAINING), leave_by)


def _training(attempt: AttemptStatus, summary: LogSummary, spec: BenchmarkRunSpec, now: float) -> Step:
    limit = spec.deadlines.run
    deadline = (summary.run_start or now) + duration_seconds(limit)
    if now >= deadline:
        message = f"no run_stop within {limit} of run_start; raise spec.deadlines.run if it needs longer"
        return Step(move_to(attempt, Reason.RUN_DEADLINE_EXCEEDED, message))
    return Step(move(attempt, AttemptState.TRAINING), deadline)


def _judged(attempt: AttemptStatus, job: ObservedJob | None, log: ObservedLog, goal: Goal) -> AttemptStatus:
    """The outcome of a try whose log is whole: what its log says, and what only the operator can know."""
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
    """That the log's clock started before its container did; empty when it did not."""
    rank0 = job.container(0) if job else None
    if not (rank0 and rank0.started and summary.run_start):
        return ""
    early = rank0.started - summary.run_start
    if early <= CLOCK_TOLERANCE_SECONDS:
        return ""
    return f"run_start is {early:.1f} s before the container started: check the clock of node and trainer"


def _measured(attempt: AttemptStatus, summary: LogSummary, goal: Goal) -> AttemptStatus:
    """The fields of the status that come from the log."""
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
