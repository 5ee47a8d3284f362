"""Forecasts whether a run's result will pass the test by reference convergence points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from podium import scoring
from podium.api import AttemptState, AttemptStatus, BenchmarkRunSpec, Forecast, Reason
from podium.reconcile.conditions import ConditionUpdate
from podium.reconcile.model import Emit
from podium.reconcile.score import score_run
from podium.reconcile.text import known_number
from podium.reconcile.tries import last_tries
from podium.rounds import Round
from podium.rules import Goal

_MOST = 1e15  # samples: beyond any training, and sums stay finite
_MEASURED = frozenset({AttemptState.CONVERGED, AttemptState.NOT_CONVERGED, AttemptState.INVALID})


def forecast_run(
    spec: BenchmarkRunSpec, attempts: Sequence[AttemptStatus], goal: Goal, rounds: Mapping[str, Round]
) -> scoring.Forecast | None:
    """Return the forecast; None without an attempt to base it on, or if the round's reference says nothing.

    Of more attempts than the round asks for, all count until the last one is made; then the designated ones.
    """
    if not goal.has_reference:
        return None
    ended = [one for one in last_tries(attempts).values() if one.state in _MEASURED]
    sizes = {one.batch_size for one in ended if one.converged_after}
    size = sizes.pop() if len(sizes) == 1 else None
    if size is None:
        return None
    rules, wanted = rounds[spec.round].benchmarks[spec.benchmark], goal.attempts
    if len(ended) == wanted > rules.runs:
        designated = score_run(spec, attempts, goal, rounds).designated
        ended, wanted = [one for one in ended if one.index in designated], len(designated)
    counts = [_count(one) for one in ended]
    return scoring.forecast(spec.round, spec.benchmark, rules, size, counts, wanted=wanted)


def _count(attempt: AttemptStatus) -> float | None:
    """Return the epochs or samples of an attempt that converged; the status may have been edited."""
    count = known_number(attempt.converged_after) if attempt.state is AttemptState.CONVERGED else None
    return count if count is not None and 0 < count < _MOST else None


def in_status(found: scoring.Forecast | None) -> Forecast | None:
    """Return what a run's status says of a forecast."""
    if found is None:
        return None
    return Forecast(
        probability=f"{found.probability:.3g}",
        mean=f"{found.mean:.6g}",
        least=f"{found.least:.6g}",
        attempts=found.made,
        likely_fails=found.likely_fails,
        message=found.text,
    )


def turned(before: Forecast | None, found: scoring.Forecast | None) -> list[Emit]:
    """Return the Event of a run that was not called likely to fail before, and is now."""
    if found is None or not found.likely_fails or (before is not None and before.likely_fails):
        return []
    return [Emit(Reason.LIKELY_TO_FAIL_RCP, f"{found.text}, after {found.made} of {found.wanted} attempts")]


def warned(running: ConditionUpdate, found: scoring.Forecast | None) -> ConditionUpdate:
    """Return the condition of a run that goes on, with a warning if it is likely to fail."""
    if found is None or not found.likely_fails:
        return running
    return replace(running, message=f"{running.message}; {found.text}")


def stopped_as_hopeless(spec: BenchmarkRunSpec, found: scoring.Forecast | None) -> ConditionUpdate | None:
    """Return why a run with spec.stopWhenHopeless makes no more attempts, if it does not."""
    if not spec.stop_when_hopeless or found is None or found.probability >= scoring.HOPELESS:
        return None
    text = f"{found.text}, after {found.made} of {found.wanted} attempts; spec.stopWhenHopeless ends the run"
    return ConditionUpdate(True, Reason.STOPPED_AS_HOPELESS, text)
