"""The life of one try: from its Job, its containers and its log to its state."""

from __future__ import annotations

from dataclasses import dataclass

from podium.api import AttemptState, AttemptStatus, BenchmarkRunSpec, duration_seconds, rfc3339
from podium.mllog import LogSummary, reached, seconds
from podium.reconcile.model import Container, ObservedJob, ObservedLog, Staging
from podium.rules import Goal

# Waiting reasons that no amount of waiting mends.
UNRECOVERABLE_WAITING = frozenset({"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"})
# After run_stop the containers have so long to leave.
LEAVE_SECONDS = 300
# Exit codes of `podium stage` that say: a person has to do something. All others are outages and lost nodes.
STAGE_FINAL = frozenset({1, 2})
# A log may be this much ahead of its container's start before its clock is called wrong.
CLOCK_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """One try moved forward; `deadline` is when it has to be looked at again."""

    attempt: AttemptStatus
    deadline: float | None = None


def advance(  # noqa: PLR0911 - a table of outcomes, top to bottom
    attempt: AttemptStatus, job: ObservedJob | None, log: ObservedLog, *, spec: BenchmarkRunSpec, goal: Goal, now: float
) -> Step:
    """The state of a try that has not finished, from what is seen of it now."""
    attempt = _measured(attempt, log.summary, goal)
    if job is None:
        if not log.ended:
            return Step(attempt)  # what was printed is still being read
        if log.summary.run_stop is not None:
            return Step(_verdict(attempt, None, log, goal))
        return Step(_finish(attempt, AttemptState.FAILED, "JobLost", "its Job was deleted before run_stop"))
    lost = _failed_container(job)
    over = job.finished or job.left(spec.system.nodes)
    if over and log.ended:
        if log.summary.run_stop is None and (lost or job.finished == "Failed"):
            return Step(_failure(attempt, job, lost, log))
        return Step(_verdict(attempt, job, log, goal))
    if job.suspended:
        return Step(_moved(attempt, AttemptState.PENDING, "Queued", "waits for its queue to admit the Job"))
    if log.summary.run_stop is not None:
        leave_by = log.summary.run_stop + LEAVE_SECONDS
        if now >= leave_by:
            return Step(_verdict(attempt, job, log, goal))
        return Step(_moved(attempt, AttemptState.TRAINING), leave_by)
    if log.summary.run_start is not None:
        return _training(attempt, log.summary, spec, now)
    return _starting(attempt, job, log, spec, now)


def _training(attempt: AttemptStatus, summary: LogSummary, spec: BenchmarkRunSpec, now: float) -> Step:
    limit = spec.deadlines.run
    deadline = (summary.run_start or now) + duration_seconds(limit)
    if now >= deadline:
        message = f"no run_stop within {limit} of run_start; raise spec.deadlines.run if it needs longer"
        return Step(_finish(attempt, AttemptState.NOT_CONVERGED, "RunDeadlineExceeded", message))
    return Step(_moved(attempt, AttemptState.TRAINING), deadline)


def _starting(attempt: AttemptStatus, job: ObservedJob, log: ObservedLog, spec: BenchmarkRunSpec, now: float) -> Step:
    waiting = next((c for c in job.containers if c.waiting in UNRECOVERABLE_WAITING), None)
    if waiting:
        message = f"pod {waiting.name}: {waiting.waiting}: {waiting.message}"
        return Step(_finish(attempt, AttemptState.FAILED, "PodCannotStart", message))
    started = [c.started for c in job.containers if c.started is not None]
    if len(started) < spec.system.nodes:
        return _pending(attempt, job, spec, now)
    limit = spec.deadlines.init
    deadline = max(started) + duration_seconds(limit)
    if now >= deadline:
        if log.summary.lines == 0:
            return Step(
                _finish(attempt, AttemptState.FAILED, "NoMLPerfLog", _no_log(log, f"within {limit} of its start"))
            )
        message = f"no run_start within {limit} of the containers' start (spec.deadlines.init){_tail(log)}"
        return Step(_finish(attempt, AttemptState.FAILED, "InitDeadlineExceeded", message))
    return Step(_moved(attempt, AttemptState.INITIALIZING), deadline)


def _pending(attempt: AttemptStatus, job: ObservedJob, spec: BenchmarkRunSpec, now: float) -> Step:
    """Not every trainer runs: pods wait for a node or an image, or for their data."""
    nodes = spec.system.nodes
    copying = [c.staging.started for c in job.containers if c.staging and c.staging.started is not None]
    copied = [c.staging.finished for c in job.containers if c.staging and c.staging.finished is not None]
    if len(copying) < nodes or len(copied) == nodes:
        limit = spec.deadlines.pending
        deadline = (max(copied) if len(copied) == nodes else job.created) + duration_seconds(limit)
        why = _why_pending(job, nodes)
        if now >= deadline:
            message = f"{why}; not every pod ran within {limit} (spec.deadlines.pending)"
            return Step(_finish(attempt, AttemptState.FAILED, "PendingDeadlineExceeded", message))
        return Step(_moved(attempt, AttemptState.PENDING, "Pending", why), deadline)
    limit = spec.deadlines.stage
    deadline = max(copying) + duration_seconds(limit)
    why = f"{len(copied)} of {nodes} pods have copied their data"
    if now >= deadline:
        message = f"{why} within {limit} (spec.deadlines.stage); raise it, or see whether the source is slow"
        return Step(_finish(attempt, AttemptState.FAILED, "StageDeadlineExceeded", message))
    return Step(_moved(attempt, AttemptState.PENDING, "Staging", why), deadline)


def _verdict(attempt: AttemptStatus, job: ObservedJob | None, log: ObservedLog, goal: Goal) -> AttemptStatus:
    """The outcome of a try whose log is whole. The status in run_stop is not trusted: the evaluations decide."""
    summary = log.summary
    unreadable = f"; {log.problem}" if log.problem else ""
    if summary.lines == 0:
        return _finish(attempt, AttemptState.FAILED, "NoMLPerfLog", _no_log(log, "before it ended") + unreadable)
    breach = _breach(summary, job, goal)
    if breach:
        reason, message = breach
        return _finish(attempt, AttemptState.INVALID, reason, message + unreadable)
    claims_success = summary.run_stop_status == "success"
    if reached(summary, goal.targets) is None:
        best = attempt.quality or "no evaluation"
        claim = "; run_stop claims success, the evaluations do not bear it out" if claims_success else ""
        message = f"quality {best}, target {goal.text}{claim}"
        return _finish(attempt, AttemptState.NOT_CONVERGED, "QualityNotReached", message)
    if summary.run_stop_status not in (None, "success"):
        message = f"run_stop says {summary.run_stop_status!r} although the target was reached"
        return _finish(attempt, AttemptState.NOT_CONVERGED, "RunAborted", message)
    return _finish(attempt, AttemptState.CONVERGED, "TargetReached", f"quality {attempt.quality}, target {goal.text}")


def _breach(summary: LogSummary, job: ObservedJob | None, goal: Goal) -> tuple[str, str] | None:
    """The first broken rule of the clock, as (reason, sentence)."""
    return _missing_line(summary, goal) or _wrong_clock(summary, job) or _long_init(summary, goal)


def _missing_line(summary: LogSummary, goal: Goal) -> tuple[str, str] | None:
    if summary.run_start is None:
        return "RunStartMissing", "the log has no run_start line; print it when the clock starts"
    timed = seconds(summary, goal.timed_by) is not None
    if goal.timed_by == "eval_result":
        message = "the log has no eval_result line with the timestamp at which the target was reached"
        return None if timed else ("EvalResultMissing", message)
    if summary.run_stop is None:
        return "RunStopMissing", "the log ends without a run_stop line; print it when the target is reached or given up"
    return ("ClockInvalid", "run_stop does not come after run_start") if summary.out_of_order or not timed else None


def _wrong_clock(summary: LogSummary, job: ObservedJob | None) -> tuple[str, str] | None:
    rank0 = job.container(0) if job else None
    if not (rank0 and rank0.started and summary.run_start):
        return None
    early = rank0.started - summary.run_start
    message = f"run_start is {early:.1f} s before the container started: check the clock of node and trainer"
    return ("ClockInvalid", message) if early > CLOCK_TOLERANCE_SECONDS else None


def _long_init(summary: LogSummary, goal: Goal) -> tuple[str, str] | None:
    if not goal.max_init_seconds or summary.init_start is None:
        return None
    init = (summary.init_stop or summary.run_start or summary.init_start) - summary.init_start
    message = f"{init:.0f} s between init_start and init_stop; the round allows {goal.max_init_seconds} s"
    return ("InitTooLong", message) if init > goal.max_init_seconds else None


def _failure(attempt: AttemptStatus, job: ObservedJob, lost: Container | None, log: ObservedLog) -> AttemptStatus:
    if lost is None:
        return _finish(attempt, AttemptState.FAILED, "PodLost", job.message or "a pod was lost")
    place = f"pod {lost.name}" if lost.name else "a pod"
    if lost.exit_code is not None and lost.staging and lost.staging.exit_code:
        return _finish(attempt, AttemptState.FAILED, *_stage_failure(place, lost, lost.staging))
    if lost.exit_code is None:
        return _finish(attempt, AttemptState.FAILED, "PodLost", f"{place}: {lost.stopped}{_colon(lost.message)}")
    code = f"exit code {lost.exit_code}" + (f" ({lost.stopped})" if lost.stopped not in ("", "Error") else "")
    return _finish(attempt, AttemptState.FAILED, "PodFailed", f"{place}: {code}{_tail(log)}")


def _stage_failure(place: str, lost: Container, staging: Staging) -> tuple[str, str]:
    """Reason and message: only what a person has to mend is not tried again."""
    reason = "StageFailed" if staging.exit_code in STAGE_FINAL else "StageInterrupted"
    why = f" ({lost.stopped})" if lost.stopped not in ("", "Error") else ""
    last = " | ".join(line.strip() for line in staging.last_lines.strip().splitlines()[-3:])
    return reason, f"{place}: copying its data: exit code {staging.exit_code}{why}{_colon(last or lost.message)}"


def _failed_container(job: ObservedJob) -> Container | None:
    """The container that failed first: the others often die of its death."""
    failed = [c for c in job.containers if c.finished is not None and (c.exit_code is None or c.exit_code != 0)]
    return min(failed, key=lambda c: c.finished or 0.0, default=None)


def _why_pending(job: ObservedJob, nodes: int) -> str:
    idle = [c for c in job.containers if c.waiting and c.started is None]
    # one that copies its data, or has, waits for no node
    waiting = min(idle, key=lambda c: c.staging is not None and c.staging.started is not None, default=None)
    if waiting:
        return f"pod {waiting.name}: {waiting.waiting}{_colon(waiting.message)}"
    running = sum(c.started is not None for c in job.containers)
    return job.message or f"{running} of {nodes} pods run"


def _no_log(log: ObservedLog, when: str) -> str:
    return (
        f"rank 0 printed no MLPerf line on stdout {when}; "
        f'the image has to print lines such as \':::MLLOG {{"key": "run_start", ...}}\'{_tail(log)}'
    )


def _tail(log: ObservedLog) -> str:
    return f"; last output: {log.tail}" if log.tail else ""


def _colon(message: str) -> str:
    return f": {message}" if message else ""


def _measured(attempt: AttemptStatus, summary: LogSummary, goal: Goal) -> AttemptStatus:
    """Everything of the status that is read off the log."""
    changes: dict[str, object] = {}
    if summary.run_start is not None:
        changes["start_time"] = rfc3339(summary.run_start, milliseconds=True)
    if summary.evaluations:
        last = summary.evaluations[-1]
        changes["quality"] = goal.render(last.quality)
        if last.epoch is not None:
            changes["epochs"] = f"{last.epoch:g}"
    if summary.energy_joules is not None:
        changes["energy_joules"] = f"{summary.energy_joules:.0f}"
    elapsed = seconds(summary, goal.timed_by)
    if elapsed is not None:
        changes["time_to_train_seconds"] = f"{elapsed:.3f}"
    return attempt.model_copy(update=changes) if changes else attempt


def _moved(
    attempt: AttemptStatus, state: AttemptState, reason: str | None = None, message: str | None = None
) -> AttemptStatus:
    if (attempt.state, attempt.reason, attempt.message) == (state, reason, message):
        return attempt
    return attempt.model_copy(update={"state": state, "reason": reason, "message": message and message[:2048]})


def _finish(attempt: AttemptStatus, state: AttemptState, reason: str, message: str) -> AttemptStatus:
    return _moved(attempt, state, reason, message)
