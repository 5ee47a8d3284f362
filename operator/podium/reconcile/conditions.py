"""Conditions of a BenchmarkRun: all types are always present; the transition time changes only with the status."""

from __future__ import annotations

from dataclasses import dataclass

from podium.api import BenchmarkRunStatus, Condition, ConditionType, Reason, rfc3339
from podium.text import printable

_MAX_MESSAGE = 32768  # characters, from the CRD


@dataclass(frozen=True, slots=True)
class ConditionUpdate:
    """The new content of one condition."""

    status: bool
    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The conditions that a decision sets; the others follow from them."""

    admitted: ConditionUpdate
    running: ConditionUpdate = ConditionUpdate(False, Reason.FINISHED)
    suspended: bool = False
    stored: str = ""  # URL of the result
    store_error: str = ""
    complete: ConditionUpdate | None = None
    failed: ConditionUpdate | None = None

    def conditions(self) -> dict[ConditionType, ConditionUpdate]:
        ended = self.complete or self.failed
        if self.stored:
            stored = ConditionUpdate(True, Reason.STORED, self.stored)
        elif self.store_error:
            stored = ConditionUpdate(False, Reason.STORE_UNAVAILABLE, self.store_error)
        else:
            stored = ConditionUpdate(False, Reason.NOTHING_TO_STORE if ended else Reason.IN_PROGRESS)
        return {
            ConditionType.ADMITTED: self.admitted,
            ConditionType.RUNNING: self.running,
            ConditionType.SUSPENDED: ConditionUpdate(
                self.suspended and not ended, Reason.SUSPENDED if self.suspended else Reason.NOT_SUSPENDED
            ),
            ConditionType.RESULT_STORED: stored,
            ConditionType.COMPLETE: self.complete
            or ConditionUpdate(False, Reason.FAILED if self.failed else Reason.IN_PROGRESS),
            ConditionType.FAILED: self.failed
            or ConditionUpdate(False, Reason.COMPLETE if self.complete else Reason.IN_PROGRESS),
        }


def with_conditions(status: BenchmarkRunStatus, report: Report, generation: int, now: float) -> BenchmarkRunStatus:
    """Return `status` with the conditions of `report`."""
    before = {condition.type: condition for condition in status.conditions}
    stamp = rfc3339(now)
    conditions = []
    for kind, update in report.conditions().items():
        value = "True" if update.status else "False"
        old = before.get(kind)
        message = printable(update.message)[:_MAX_MESSAGE]
        content = (value, update.reason, message, generation)
        if old and (old.status, old.reason, old.message, old.observed_generation) == content:
            conditions.append(old)
            continue
        since = old.last_transition_time if old and old.status == value else stamp
        conditions.append(
            Condition(
                type=kind,
                status=value,
                reason=update.reason.value,
                message=message,
                last_transition_time=since,
                observed_generation=generation,
            )
        )
    return status.model_copy(update={"conditions": tuple(conditions), "observed_generation": generation})
