"""Conditions of a BenchmarkRun: every type always present, the transition time kept while the status stays."""

from __future__ import annotations

from dataclasses import dataclass, replace

from podium.api import BenchmarkRunStatus, Condition, ConditionType, rfc3339


@dataclass(frozen=True, slots=True)
class ConditionUpdate:
    """What one condition says."""

    status: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The conditions that a decision sets; the others follow from them."""

    admitted: ConditionUpdate
    running: ConditionUpdate = ConditionUpdate(False, "Finished")
    suspended: bool = False
    stored: str = ""  # where the result lies
    store_error: str = ""
    complete: ConditionUpdate | None = None
    failed: ConditionUpdate | None = None

    def conditions(self) -> dict[ConditionType, ConditionUpdate]:
        ended = self.complete or self.failed
        if self.stored:
            stored = ConditionUpdate(True, "Stored", self.stored)
        elif self.store_error:
            stored = ConditionUpdate(False, "StoreUnavailable", self.store_error)
        else:
            stored = ConditionUpdate(False, "NothingToStore" if ended else "InProgress")
        return {
            ConditionType.ADMITTED: self.admitted,
            ConditionType.RUNNING: self.running,
            ConditionType.SUSPENDED: ConditionUpdate(
                self.suspended and not ended, "Suspended" if self.suspended else "NotSuspended"
            ),
            ConditionType.RESULT_STORED: stored,
            ConditionType.COMPLETE: self.complete or ConditionUpdate(False, "Failed" if self.failed else "InProgress"),
            ConditionType.FAILED: self.failed or ConditionUpdate(False, "Complete" if self.complete else "InProgress"),
        }


def with_conditions(status: BenchmarkRunStatus, report: Report, generation: int, now: float) -> BenchmarkRunStatus:
    """`status` with the conditions of `report`."""
    before = {condition.type: condition for condition in status.conditions}
    stamp = rfc3339(now)
    conditions = []
    for kind, told in report.conditions().items():
        told = replace(told, message=told.message[:32768])  # noqa: PLW2901
        value = "True" if told.status else "False"
        old = before.get(kind)
        since = old.last_transition_time if old and old.status == value else stamp
        conditions.append(
            Condition(
                type=kind,
                status=value,
                reason=told.reason,
                message=told.message,
                last_transition_time=since,
                observed_generation=generation,
            )
        )
    return status.model_copy(update={"conditions": tuple(conditions), "observed_generation": generation})
