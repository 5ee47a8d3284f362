"""A try before its clock starts: its pods wait for nodes and images, copy data, initialize."""

from __future__ import annotations

from podium.api import AttemptState, AttemptStatus, Reason, duration_seconds
from podium.reconcile.failure import cannot_start, failed, silent_node
from podium.reconcile.model import Container, ObservedJob, ObservedLog, Staging
from podium.reconcile.step import Look, Step, colon, listed, move_to, no_log_text, tail_text, until

# The kubelet's reasons for containers that will never run, however long they wait,
UNRECOVERABLE_WAITING = frozenset({"InvalidImageName", "ErrImageNeverPull"})
# those for containers that will not if the reason lasts: a cache that is slow to fill gives the same one,
UNRECOVERABLE_IF_LASTING = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
LASTING_SECONDS = 60
# and those for images that cannot be pulled, which a registry's outage gives as well.
PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"})


def starting(attempt: AttemptStatus, job: ObservedJob, look: Look) -> Step:
    """Advance a try until run_start is logged."""
    log, spec = look.log, look.spec
    started = [c.started for c in job.containers if c.started is not None]
    if len(started) < spec.system.nodes:
        if attempt.state is AttemptState.INITIALIZING:  # all had started: a pod has vanished, and its Job will say more
            return Step(attempt)
        return _stuck(attempt, job, look) or _pending(attempt, job, look)
    limit = spec.deadlines.init
    latest = job.launched + sum(map(duration_seconds, (spec.deadlines.pending, spec.deadlines.stage) * 2))
    # a node's clock may be wrong: see attempt._clock_start
    up = [c.started if c.came_up is None else c.came_up for c in job.containers if c.started is not None]
    began = min(max(*up, job.launched), latest)
    if step := until(attempt, AttemptState.INITIALIZING, began + duration_seconds(limit), look):
        return step
    if silent := silent_node(job):
        return Step(failed(attempt, job, silent, log))
    return Step(_never_started(attempt, log, limit))


def _never_started(attempt: AttemptStatus, log: ObservedLog, limit: str) -> AttemptStatus:
    """Return the end of a try without a run_start within `limit` of its start."""
    if log.summary.lines == 0:
        return move_to(attempt, Reason.NO_MLPERF_LOG, no_log_text(log, f"within {limit} of its start"))
    if log.summary.evaluations:
        message = "the log has evaluations but no run_start: its beginning was lost, or the program does not log it"
        return move_to(attempt, Reason.LOG_LOST, message)
    message = f"no run_start within {limit} of the containers' start (spec.deadlines.init){tail_text(log)}"
    return move_to(attempt, Reason.INIT_DEADLINE_EXCEEDED, message)


def _stuck(attempt: AttemptStatus, job: ObservedJob, look: Look) -> Step | None:
    """Return the end of a try with a container that will never run; None if there is none."""
    for container in job.containers:
        why = _waits(container)
        if container.waiting in UNRECOVERABLE_WAITING:
            return Step(move_to(attempt, Reason.POD_CANNOT_START, why))
        if container.waiting in UNRECOVERABLE_IF_LASTING and container.waiting_since is not None:
            deadline = container.waiting_since + LASTING_SECONDS
            step = listed(attempt, Reason.PENDING, why, deadline, look)
            return step or Step(move_to(attempt, cannot_start(container), why))
    return None


def _pending(attempt: AttemptStatus, job: ObservedJob, look: Look) -> Step:
    """Handle a try whose trainers are not all running: pods wait for a node, an image or their data."""
    nodes, limits = look.spec.system.nodes, look.spec.deadlines
    copies = [c.staging for c in job.containers if c.staging]
    copying = [copy.seen_started or copy.started for copy in copies if copy.started is not None]
    copied = [copy.seen_finished or copy.finished for copy in copies if copy.finished is not None]
    if len(copying) < nodes or len(copied) == nodes:
        limit = limits.pending
        deadline = (max(copied) if len(copied) == nodes else job.launched) + duration_seconds(limit)
        waiting = _longest_waiting(job)
        # if a pod was refused, those that exist wait for it
        why = job.cause or (_waits(waiting) if waiting else job.message or _running(job, nodes))
        pulls = not job.cause and waiting is not None and waiting.waiting in PULLING
        reason = Reason.IMAGE_PULL_FAILED if pulls else Reason.PENDING_DEADLINE_EXCEEDED
        message = f"{why}; not all pods were running within {limit} (spec.deadlines.pending)"
        step = listed(attempt, Reason.PENDING, why, deadline, look)
        return step or Step(move_to(attempt, reason, message))
    limit = limits.stage
    why = f"{len(copied)} of {nodes} pods have copied their data"
    message = f"{why} within {limit} (spec.deadlines.stage); raise it, or check whether the source is slow"
    step = listed(attempt, Reason.STAGING, why, max(copying) + duration_seconds(limit), look)
    return step or Step(move_to(attempt, Reason.STAGE_DEADLINE_EXCEEDED, message))


def held_up_by(job: ObservedJob) -> Container | None:
    """Return the container for which a try waited in vain; None if that is not a matter of one pod."""
    idle = [c for c in job.containers if c.waiting and c.started is None and c.finished is None]
    return None if job.cause else min(idle, key=_readiness, default=None)


def _readiness(container: Container) -> tuple[bool, bool, bool]:
    """Return how far a waiting container has come."""
    staging = container.staging or Staging()
    never = container.waiting in UNRECOVERABLE_WAITING | UNRECOVERABLE_IF_LASTING
    return not never, staging.started is not None, staging.finished is not None


def _longest_waiting(job: ObservedJob) -> Container | None:
    idle = [c for c in job.containers if c.waiting and c.started is None]
    # a pod that is copying its data, or has copied it, already has a node
    return min(idle, key=lambda c: c.staging is not None and c.staging.started is not None, default=None)


def _waits(container: Container) -> str:
    return f"pod {container.name}: {container.waiting}{colon(container.message)}"


def _running(job: ObservedJob, nodes: int) -> str:
    running = sum(c.started is not None for c in job.containers)
    return f"{running} of {nodes} pods are running"
