"""One run at the moment of a scrape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from podium.api import AttemptState, ConditionType
from podium.mllog import seconds
from podium.reconcile import Observed, ObservedLog, Run, finish_time
from podium.rules import Goal

STATES = ("Pending", "Running", "Suspended", "Complete", "Failed")


@dataclass(frozen=True, slots=True)
class RunSample:
    """What the run's series show. Times in seconds; None where nothing is known yet."""

    run: Run
    state: str
    attempts: Mapping[str, int]
    attempt: int | None = None
    epoch: float | None = None
    samples: int | None = None
    samples_per_second: float | None = None
    progress: float | None = None
    elapsed: float | None = None
    remaining: float | None = None
    updated: float | None = None
    quality: Mapping[str, float] = field(default_factory=dict)
    target: Mapping[str, float] = field(default_factory=dict)
    time_to_train: float | None = None


def run_sample(run: Run, observed: Observed, goal: Goal | None, now: float) -> RunSample:
    """The sample of `run`; `goal` is None when the run was not admitted."""
    attempts = dict.fromkeys(AttemptState, 0)
    for attempt in run.status.attempts:
        attempts[attempt.state] += 1
    counts = {str(state): count for state, count in attempts.items()}
    score = run.status.score
    minutes = score.time_to_train_minutes if score else None
    scored = float(minutes) * 60 if minutes else None
    if goal is None or not run.status.attempts:
        return RunSample(run, _state(run), counts, time_to_train=scored, target=goal.targets if goal else {})
    last = run.status.attempts[-1]
    summary = observed.logs.get(last.id, ObservedLog()).summary
    training = last.state is AttemptState.TRAINING and summary.run_start is not None
    finish = finish_time(summary) if training else None
    whole = (summary.train_samples or 0) * (summary.max_epochs or 0)
    elapsed = now - summary.run_start if training and summary.run_start else seconds(summary, goal.timed_by)
    return RunSample(
        run=run,
        state=_state(run),
        attempts=counts,
        attempt=last.index,
        epoch=summary.epoch,
        samples=summary.samples,
        samples_per_second=summary.throughput if training else None,
        progress=min(1.0, (summary.samples or 0) / whole) if whole else None,
        elapsed=elapsed,
        remaining=max(0.0, finish - now) if finish is not None else None,
        updated=summary.last_event_time,
        quality=summary.evaluations[-1].quality if summary.evaluations else {},
        target=goal.targets,
        time_to_train=scored,
    )


def _state(run: Run) -> str:
    for kind in (ConditionType.COMPLETE, ConditionType.FAILED, ConditionType.SUSPENDED, ConditionType.RUNNING):
        if run.status.is_true(kind):
            return str(kind)
    return "Pending"
