"""What to send of a status, and when."""

from __future__ import annotations

from typing import Any

from podium.api import AttemptState, BenchmarkRunStatus

_STARTING = frozenset({AttemptState.PENDING, AttemptState.INITIALIZING})  # steps on the way, told with the progress


def status_document(status: BenchmarkRunStatus) -> dict[str, Any]:
    """The status as the API server stores it."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def merge_patch(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The RFC 7386 merge patch that makes `new` of `old`; empty when they are the same."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := merge_patch(before, value):
                patch[key] = inner
        elif value != before:
            patch[key] = value
    return patch


def significant(status: BenchmarkRunStatus) -> tuple[object, ...]:
    """What has to be told at once when it changes; the rest is progress and may wait."""
    attempts = tuple((a.index, a.try_, "Starting" if a.state in _STARTING else a.state) for a in status.attempts)
    conditions = tuple(
        (c.type, "Starting") if c.reason in _STARTING else (c.type, c.status, c.reason) for c in status.conditions
    )
    return attempts, conditions, status.result, status.score
