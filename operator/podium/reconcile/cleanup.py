"""What is deleted of a try or a run that has ended, and when."""

from __future__ import annotations

from collections.abc import Iterable

from podium.api import AttemptStatus, BenchmarkRunStatus
from podium.reconcile.model import Action, Decision, DeleteJob, DeleteRun, DropCheckpoint, Observed, ObservedJob, Run
from podium.reconcile.text import known_time

# A Job whose containers have ended is left to end by itself for this long.
LINGER_SECONDS = 30.0


def left_behind(job: ObservedJob, nodes: int) -> float | None:
    """Return when to delete the Job of a finished try (unix seconds); None if it needs no deletion."""
    if job.finished or job.deleting:
        return None
    ended = (c.seen_ended or c.finished for c in job.containers if c.finished is not None)
    return 0.0 if job.may_run(nodes) else max(ended, default=0.0) + LINGER_SECONDS


def checkpoints_of(attempts: Iterable[AttemptStatus], observed: Observed) -> list[DropCheckpoint]:
    """Return what removes the checkpoints of stored tries."""
    return [DropCheckpoint(a.id) for a in attempts if a.stored and a.id in observed.checkpoints]


def after_the_end(run: Run, observed: Observed, now: float) -> Decision:
    """Terminal is final: no Job may run again, and the time to live remains.

    Before the API server has the last status, nothing is deleted: the next process would know nothing of the end. It
    never has that of a deleted run.
    """
    if not (observed.end_recorded or run.deleted):
        return Decision((), run.status)
    due = {id_: left_behind(job, run.spec.system.nodes) for id_, job in observed.jobs.items()}
    deadlines = [at for at in due.values() if at is not None and now < at]
    actions: list[Action] = [DeleteJob(id_) for id_, at in due.items() if at is not None and now >= at]
    actions += checkpoints_of(run.status.attempts, observed)
    ttl = run.spec.ttl_seconds_after_finished
    if ttl is not None and not run.deleted:
        deadlines.append(expires := _ended_at(run.status, now) + ttl)
        if now >= expires:
            return Decision((DeleteRun(),), run.status)
    return Decision(tuple(actions), run.status, min(deadlines, default=None))


def _ended_at(status: BenchmarkRunStatus, now: float) -> float:
    """Return the unix time of the terminal condition; `now` if it does not say."""
    ended = known_time(status.end.last_transition_time) if status.end else None
    return now if ended is None else ended
