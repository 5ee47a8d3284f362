"""What is kept in memory of a run that ended some time ago: a few hundred bytes, since there may be thousands."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from podium.api import BenchmarkRunStatus, unix_seconds
from podium.controller.state import RunState
from podium.metrics import FinishedSample, finished_sample
from podium.reconcile import Run

FULL_SECONDS = 600.0  # the metrics of a run stay complete this long after its end


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that is Complete or Failed, and whose Jobs have all ended. Times are unix seconds."""

    generation: int
    expires: float | None  # when to delete it
    sample: FinishedSample

    @classmethod
    def of(cls, run: Run) -> FinishedRun:
        """Return what is kept of `run`."""
        ttl, sample = run.spec.ttl_seconds_after_finished, finished_sample(run)
        return cls(
            generation=run.generation,
            expires=None if ttl is None else ended_at(run.status) + ttl,
            sample=FinishedSample(
                namespace=sys.intern(sample.namespace),
                name=sample.name,
                benchmark=sys.intern(sample.benchmark),
                state=sys.intern(sample.state),
                time_to_train=sample.time_to_train,
                rate=sample.rate,
            ),
        )


def rests_at(state: RunState) -> float | None:
    """Return from when on a run is only a `FinishedRun`; None while something of it is unfinished or not written."""
    status = state.run.status
    if not status.terminal or state.report.changed_at is not None or state.uploads.storing:
        return None
    if any(not job.finished for job in state.observation.jobs.values()):
        return None
    return ended_at(status) + FULL_SECONDS


def ended_at(status: BenchmarkRunStatus) -> float:
    """Return the unix time of the terminal condition."""
    assert status.end is not None, "the run has not ended"
    return unix_seconds(status.end.last_transition_time)
