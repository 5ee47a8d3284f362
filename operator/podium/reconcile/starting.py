"""A try before its clock starts: its pods wait for nodes and images, copy data, initialize."""

from __future__ import annotations

from podium.api import AttemptState, AttemptStatus, BenchmarkRunSpec, Reason, duration_seconds
from podium.reconcile.model import ObservedJob, ObservedLog
from podium.reconcile.step import Step, colon, move, move_to, no_log_text, tail_text

# The kubelet's reasons for containers that will never run, however long they wait.
UNRECOVERABLE_WAITING = frozenset({"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"})


def starting(attempt: AttemptStatus, job: ObservedJob, log: ObservedLog, spec: BenchmarkRunSpec, now: float) -> Step:
    """Advance a try until run_start is logged."""
    stuck = next((c for c in job.containers if c.waiting in UNRECOVERABLE_WAITING), None)
    if stuck:
        message = f"pod {stuck.name}: {stuck.waiting}: {stuck.message}"
        return Step(move_to(attempt, Reason.POD_CANNOT_START, message))
    started = [c.started for c in job.containers if c.started is not None]
    if len(started) < spec.system.nodes:
        return _pending(attempt, job, spec, now)
    limit = spec.deadlines.init
    deadline = max(started) + duration_seconds(limit)
    if now < deadline:
        return Step(move(attempt, AttemptState.INITIALIZING), deadline)
    if log.summary.lines == 0:
        message = no_log_text(log, f"within {limit} of its start")
        return Step(move_to(attempt, Reason.NO_MLPERF_LOG, message))
    message = f"no run_start within {limit} of the containers' start (spec.deadlines.init){tail_text(log)}"
    return Step(move_to(attempt, Reason.INIT_DEADLINE_EXCEEDED, message))


def _pending(attempt: AttemptStatus, job: ObservedJob, spec: BenchmarkRunSpec, now: float) -> Step:
    """Handle a try whose trainers are not all running: pods wait for a node, an image or their data."""
    nodes = spec.system.nodes
    copying = [c.staging.started for c in job.containers if c.staging and c.staging.started is not None]
    copied = [c.staging.finished for c in job.containers if c.staging and c.staging.finished is not None]
    if len(copying) < nodes or len(copied) == nodes:
        limit = spec.deadlines.pending
        deadline = (max(copied) if len(copied) == nodes else job.created) + duration_seconds(limit)
        why = _why_pending(job, nodes)
        if now >= deadline:
            message = f"{why}; not all pods were running within {limit} (spec.deadlines.pending)"
            return Step(move_to(attempt, Reason.PENDING_DEADLINE_EXCEEDED, message))
        return Step(move_to(attempt, Reason.PENDING, why), deadline)
    limit = spec.deadlines.stage
    deadline = max(copying) + duration_seconds(limit)
    why = f"{len(copied)} of {nodes} pods have copied their data"
    if now >= deadline:
        message = f"{why} within {limit} (spec.deadlines.stage); raise it, or check whether the source is slow"
        return Step(move_to(attempt, Reason.STAGE_DEADLINE_EXCEEDED, message))
    return Step(move_to(attempt, Reason.STAGING, why), deadline)


def _why_pending(job: ObservedJob, nodes: int) -> str:
    if job.cause:  # the pods that exist wait for those that are refused
        return job.cause
    idle = [c for c in job.containers if c.waiting and c.started is None]
    # a pod that is copying its data, or has copied it, already has a node
    waiting = min(idle, key=lambda c: c.staging is not None and c.staging.started is not None, default=None)
    if waiting:
        return f"pod {waiting.name}: {waiting.waiting}{colon(waiting.message)}"
    running = sum(c.started is not None for c in job.containers)
    return job.message or f"{running} of {nodes} pods are running"
