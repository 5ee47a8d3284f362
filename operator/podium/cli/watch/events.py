"""Describe in sentences what happened to a run between two of its statuses."""

from __future__ import annotations

from podium.api import AttemptState, AttemptStatus, BenchmarkRunStatus, Condition, ConditionType, Reason
from podium.cli.display import score_text

_NOTABLE = (ConditionType.ADMITTED, ConditionType.SUSPENDED, ConditionType.RESULT_STORED)


def events(before: BenchmarkRunStatus, after: BenchmarkRunStatus) -> list[str]:
    """A line for every new try, evaluation, change of state and condition worth reading, oldest first."""
    changed = [condition for kind in _NOTABLE if (condition := _changed(kind, before, after))]
    lines = [condition_text(condition) for condition in changed if not _is_routine(condition)]
    known = {a.id: a for a in before.attempts}
    for a in after.attempts:
        lines += _attempt_events(known.get(a.id), a, after)
    running = _changed(ConditionType.RUNNING, before, after)
    if running and running.status == "False" and not _is_routine(running) and not _is_of_attempt(running):
        lines.append(condition_text(running))
    if after.forecast and (before.forecast is None or before.forecast.message != after.forecast.message):
        lines.append(f"forecast: {after.forecast.message}")
    if after.result and not before.result:
        lines.append(f"stored: {after.result.uri}")
    if _ended(ConditionType.COMPLETE, before, after):
        lines.append(f"Complete: {score_text(after.score)}" if after.score else "Complete")
    if failed := _ended(ConditionType.FAILED, before, after):
        lines.append(condition_text(failed))
    return lines


def condition_text(condition: Condition) -> str:
    """Type, reason and message as one line."""
    return f"{condition.type}: {condition.reason}" + (f": {condition.message}" if condition.message else "")


def _attempt_events(before: AttemptStatus | None, now: AttemptStatus, status: BenchmarkRunStatus) -> list[str]:
    lines = [] if before else [f"{now.id}: created with seed {now.seed}"]
    measured = (now.epochs, now.quality)
    if now.quality and (before is None or measured != (before.epochs, before.quality)):
        target = f" of {status.progress.target}" if status.progress and status.progress.target else ""
        epoch = f"epoch {now.epochs}: " if now.epochs else ""
        lines.append(f"{now.id}: {epoch}quality {now.quality}{target}")
    moved = before is None or (before.state, before.reason, before.message) != (now.state, now.reason, now.message)
    if moved and (now.state is not AttemptState.PENDING or now.reason):
        why = ": ".join(filter(None, (now.reason, now.message)))
        seconds = f" after {float(now.time_to_train_seconds):.2f} s" if now.time_to_train_seconds else ""
        lines.append(f"{now.id}: {now.state}{seconds if now.state.finished else ''}" + (f": {why}" if why else ""))
    return lines


def _is_routine(condition: Condition) -> bool:
    """Whether a condition only says that all is well."""
    reason = Reason.known(condition.reason)
    return reason is not None and reason.routine


def _is_of_attempt(condition: Condition) -> bool:
    """Whether a condition repeats the reason of an attempt, which already has a line."""
    reason = Reason.known(condition.reason)
    return reason is not None and reason.state is not None


def _changed(kind: ConditionType, before: BenchmarkRunStatus, after: BenchmarkRunStatus) -> Condition | None:
    old, new = before.condition(kind), after.condition(kind)
    if new is None or (old and (old.status, old.reason, old.message) == (new.status, new.reason, new.message)):
        return None
    return new


def _ended(kind: ConditionType, before: BenchmarkRunStatus, after: BenchmarkRunStatus) -> Condition | None:
    return after.condition(kind) if after.is_true(kind) and not before.is_true(kind) else None
