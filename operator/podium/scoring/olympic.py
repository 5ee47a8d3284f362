"""The score of MLPerf Training: runs in, the olympic mean out.

Rule (mlcommons/training_policies, "Benchmark Results"; v0.5 verify tool for NCF): sort the good times, drop the
fastest, drop the slowest, take the mean. A run that did not converge takes the slowest place, whatever its clock
says; more of them than may be dropped make the result invalid.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from podium.suites import Suite


class Outcome(StrEnum):
    """How a run ended. A failed or aborted one is no measurement."""

    CONVERGED = "Converged"
    NOT_CONVERGED = "NotConverged"
    INVALID = "Invalid"
    FAILED = "Failed"
    ABORTED = "Aborted"


_NOT_MEASURED = frozenset({Outcome.FAILED, Outcome.ABORTED})


@dataclass(frozen=True, slots=True)
class TimedRun:
    """One run: `seconds` from run_start to run_stop; `start` (unix seconds) orders runs where the rule asks for it."""

    index: int
    outcome: Outcome
    seconds: float | None = None
    start: float | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """How many runs a benchmark asks for, and which are left out."""

    runs: int
    drop_fastest: int = 1
    drop_slowest: int = 1
    max_failures: int = 1
    converged_runs: int | None = None  # only the first so many to converge are scored (NCF in v0.5)


@dataclass(frozen=True, slots=True)
class Score:
    """`seconds` is None when there is nothing to average or the result is invalid; `reasons` are sentences."""

    seconds: float | None
    valid: bool
    official: bool
    dropped: tuple[int, ...]
    scored: tuple[int, ...]
    failures: int
    coefficient_of_variation: float | None
    reasons: tuple[str, ...]

    @property
    def minutes(self) -> float | None:
        return None if self.seconds is None else self.seconds / 60


def rule_for(suite: Suite, benchmark: str) -> Rule:
    """The rule of a round's benchmark. Raises KeyError for one that the round does not have."""
    entry = suite.benchmarks[benchmark]
    return Rule(
        runs=entry.runs,
        drop_fastest=entry.drop_fastest,
        drop_slowest=entry.drop_slowest,
        max_failures=entry.max_failures,
        converged_runs=entry.converged_runs,
    )


def score(runs: Sequence[TimedRun], rule: Rule) -> Score:
    """The olympic mean of `runs`, in whatever order they come."""
    good = [run for run in runs if run.outcome is Outcome.CONVERGED and run.seconds is not None]
    missing = [run for run in runs if run.outcome in _NOT_MEASURED]
    failed = [run for run in runs if run not in good and run not in missing]
    reasons = _why_invalid(good, failed, missing, rule)
    valid = not reasons
    complete = len(runs) >= rule.runs
    if not complete:
        reasons.append(f"not official: {len(runs)} of the {rule.runs} runs that the rules ask for")
    if rule.converged_runs is not None:
        good = sorted(good, key=_by_start)[: rule.converged_runs]
        failed = []  # every failure is already left out
    kept, dropped = _drop(good, failed, rule)
    if valid and not dropped:
        reasons.append(f"nothing was dropped: {len(runs)} runs are too few to leave out the fastest and the slowest")
    return Score(
        seconds=statistics.fmean(_seconds(kept)) if valid and kept else None,
        valid=valid,
        official=valid and complete,
        dropped=tuple(sorted(run.index for run in dropped)),
        scored=tuple(sorted(run.index for run in kept)) if valid else (),
        failures=len(runs) - len(missing) - len(good) if rule.converged_runs is None else len(runs) - len(good),
        coefficient_of_variation=_variation(_seconds(good)),
        reasons=tuple(reasons),
    )


def _why_invalid(
    good: Sequence[TimedRun], failed: Sequence[TimedRun], missing: Sequence[TimedRun], rule: Rule
) -> list[str]:
    reasons = []
    if missing:
        numbers = ", ".join(str(run.index) for run in missing)
        reasons.append(f"invalid: attempt {numbers} could not be measured")
    # a short series that cannot drop anything cannot drop a failure either
    tolerated = rule.max_failures if len(good) + len(failed) >= _enough_to_drop(rule) else 0
    if len(failed) > tolerated:
        reasons.append(f"invalid: {len(failed)} runs did not converge, {tolerated} may be left out as the slowest")
    if rule.converged_runs is not None and len(good) < rule.converged_runs and len(good) + len(failed) >= rule.runs:
        reasons.append(f"invalid: {len(good)} runs converged, {rule.converged_runs} have to")
    if not good and not reasons:
        reasons.append("invalid: no run converged")
    return reasons


def _drop(good: Sequence[TimedRun], failed: Sequence[TimedRun], rule: Rule) -> tuple[list[TimedRun], list[TimedRun]]:
    """(kept, dropped): failures take the slowest places first."""
    if len(good) + len(failed) < _enough_to_drop(rule):
        return list(good), []
    ordered = sorted(good, key=lambda run: (run.seconds, run.index))
    slowest = max(0, rule.drop_slowest - len(failed))
    last = len(ordered) - slowest
    kept = ordered[rule.drop_fastest : last]
    return kept, [*ordered[: rule.drop_fastest], *ordered[last:], *failed]


def _enough_to_drop(rule: Rule) -> int:
    return rule.drop_fastest + rule.drop_slowest + 1


def _variation(times: Sequence[float]) -> float | None:
    """Sample standard deviation over mean, of all good times."""
    if len(times) < 2 or math.isclose(mean := statistics.fmean(times), 0):
        return None
    return statistics.stdev(times) / mean


def _seconds(runs: Sequence[TimedRun]) -> list[float]:
    return [run.seconds for run in runs if run.seconds is not None]


def _by_start(run: TimedRun) -> tuple[float, int]:
    return (math.inf if run.start is None else run.start, run.index)
