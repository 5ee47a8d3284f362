"""A try whose containers or Job failed: which one failed first, and whether a retry may help."""

from __future__ import annotations

from podium.api import AttemptStatus, Reason
from podium.reconcile.model import Container, ObservedJob, ObservedLog, Staging
from podium.reconcile.step import colon, move_to, tail_text

# Exit codes of `podium stage` that require action. All others are outages and lost nodes.
STAGE_FINAL = frozenset({1, 2})


def failed_container(job: ObservedJob) -> Container | None:
    """Return the container that failed first: the others often fail because of it."""
    failed = [c for c in job.containers if c.finished is not None and (c.exit_code is None or c.exit_code != 0)]
    return min(failed, key=lambda c: c.finished or 0.0, default=None)


def failed(attempt: AttemptStatus, job: ObservedJob, first: Container | None, log: ObservedLog) -> AttemptStatus:
    """Return the failed try. `first` is the container that failed first, None if only the Job reports a failure."""
    if first is None:
        return move_to(attempt, Reason.POD_LOST, job.message or "a pod was lost")
    place = f"pod {first.name}" if first.name else "a pod"
    if first.exit_code is None:
        return move_to(attempt, Reason.POD_LOST, f"{place}: {first.stopped}{colon(first.message)}")
    if first.staging and first.staging.exit_code:
        return _stage_failed(attempt, place, first, first.staging)
    code = f"exit code {first.exit_code}{_cause(first)}"
    return move_to(attempt, Reason.POD_FAILED, f"{place}: {code}{tail_text(log)}")


def _stage_failed(attempt: AttemptStatus, place: str, first: Container, staging: Staging) -> AttemptStatus:
    reason = Reason.STAGE_FAILED if staging.exit_code in STAGE_FINAL else Reason.STAGE_INTERRUPTED
    last = " | ".join(line.strip() for line in staging.last_lines.strip().splitlines()[-3:])
    message = f"{place}: copying its data: exit code {staging.exit_code}{_cause(first)}{colon(last or first.message)}"
    return move_to(attempt, reason, message)


def _cause(container: Container) -> str:
    return f" ({container.stopped})" if container.stopped not in ("", "Error") else ""
