"""How long each phase of a try took."""

from __future__ import annotations

from collections.abc import Collection

from podium.api import AttemptStatus, unix_seconds
from podium.mllog import LogSummary
from podium.reconcile import Container

PHASES = ("pending", "init", "train", "eval")


def phases(
    attempt: AttemptStatus, containers: Collection[Container], summary: LogSummary, *, nodes: int, now: float
) -> dict[str, float]:
    """Return the seconds of each phase that the try has reached; the current one lasts until `now` (unix seconds).

    pending: from the creation of the Job until every container is running. init: until run_start. train and eval: until
    run_stop; an evaluation counts as eval once its eval_stop is logged, and as train if the log has no such lines.
    """
    ends = ended(containers, summary) if attempt.state.finished else None
    end = now if ends is None else ends
    started = [c.started for c in containers if c.started is not None]
    running = max(started) if len(started) >= nodes else None
    result: dict[str, float] = {}
    if attempt.created_time:
        created = unix_seconds(attempt.created_time)
        result["pending"] = (end if running is None else running) - created
    if running is not None:
        result["init"] = (summary.run_start or end) - running
    if summary.run_start is not None:
        clock = (summary.run_stop or end) - summary.run_start
        result["eval"] = min(summary.eval_seconds or 0.0, max(0.0, clock))
        result["train"] = clock - result["eval"]
    return {phase: max(0.0, result[phase]) for phase in PHASES if phase in result}


def ended(containers: Collection[Container], summary: LogSummary) -> float | None:
    """Return the unix time at which the last of `containers` ended, or else of the last line; None if unknown."""
    finished = [c.finished for c in containers if c.finished is not None]
    return max(finished, default=summary.last_event_time)
