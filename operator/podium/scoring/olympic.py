"""The score of MLPerf Training: runs in, the olympic mean out.

Rule (mlcommons/training_policies, "Benchmark Results"; v0.5 verify tool for NCF): sort the good times, drop the
fastest, drop the slowest, take the mean. A run that did not converge takes the slowest place, whatever its clock
says; more of them than may be dropped make the result invalid. So do runs that broke a rule: MLCommons accepts one log
that does not comply "under olympic scoring" (mlperf_logging/package_checker/package_checker.py). One whose clock is
right all the same keeps its place by its time, which is our reading: result_summarizer.py of 4.1.68 drops it as the
slowest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from podium.api import AttemptState
from podium.rounds import Benchmark, Round

_LONGEST = 1e12  # seconds: no clock says so, and sums stay finite


@dataclass(frozen=True, slots=True)
class TimedRun:
    """One run: `seconds` from run_start to run_stop; `start` (unix seconds) orders runs where the rule asks for it.

    A failed or aborted run is no measurement; an invalid one is, and did not converge. `keeps_place`: it would have
    converged within its `seconds`, but for a rule that has nothing to do with them.
    """

    index: int
    state: AttemptState
    seconds: float | None = None
    start: float | None = None
    keeps_place: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """How many runs a benchmark asks for, and which are left out."""

    runs: int
    drop_fastest: int = 1
    drop_slowest: int = 1
    max_failures: int = 1
    converged_runs: int | None = None  # only the first attempts to converge are scored (NCF in v0.5)


@dataclass(frozen=True, slots=True)
class Score:
    """`seconds` is None when the result is invalid; `reasons` are sentences.

    `dropped` and `scored` hold indices of runs. A run that did not converge and takes a slowest place is among the
    dropped. `coefficient_of_variation`: sample standard deviation over mean of all converged runs that the rule
    considers, the dropped ones included.
    """

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


def rule_for(round_: Round, benchmark: str) -> Rule:
    """The rule of a round's benchmark. Raises KeyError for one that the round does not have."""
    return rule_of(round_.benchmarks[benchmark])


def rule_of(benchmark: Benchmark) -> Rule:
    """The rule of a benchmark as its round describes it."""
    return Rule(
        runs=benchmark.runs,
        drop_fastest=benchmark.drop_fastest,
        drop_slowest=benchmark.drop_slowest,
        max_failures=benchmark.max_failures,
        converged_runs=benchmark.converged_runs,
    )


def score(runs: Sequence[TimedRun], rule: Rule) -> Score:
    """The olympic mean of `runs`, in whatever order they come.

    Another number of runs than the rule asks for gives a score that is valid and not official. With too few to drop
    anything it is the mean of all.
    """
    good = sorted((run for run in runs if _is_timed(run)), key=lambda run: (_time(run), run.index))
    failed = [run for run in runs if run.state in (AttemptState.NOT_CONVERGED, AttemptState.INVALID)]
    missing = [run for run in runs if run not in good and run not in failed]
    reasons = _why_invalid(good, failed, missing, rule)
    valid = not reasons
    if len(runs) > rule.runs:
        reasons.append(f"not official: {len(runs)} runs, more than the {rule.runs} that the rules ask for")
    elif len(runs) < rule.runs:
        reasons.append(f"not official: {len(runs)} of the {rule.runs} runs that the rules ask for")
    if rule.converged_runs is None:
        considered, slowest = good, [run for run in failed if run not in good]
    else:  # the first to converge; whatever failed is left out already
        first = sorted(good, key=_by_start)[: rule.converged_runs]
        considered, slowest = [run for run in good if run in first], []
    kept, dropped = _drop(considered, slowest, rule)
    if valid and not dropped and rule.drop_fastest + rule.drop_slowest > 0:
        few = "1 run is" if len(runs) == 1 else f"{len(runs)} runs are"
        reasons.append(f"nothing was dropped: {few} too few to leave out the fastest and the slowest")
    return Score(
        seconds=statistics.fmean(map(_time, kept)) if valid else None,
        valid=valid,
        official=valid and len(runs) == rule.runs,
        dropped=tuple(sorted(run.index for run in dropped)),
        scored=tuple(sorted(run.index for run in kept)) if valid else (),
        failures=len(failed),
        coefficient_of_variation=_variation([_time(run) for run in considered]),
        reasons=tuple(reasons),
    )


def _why_invalid(
    good: Sequence[TimedRun], failed: Sequence[TimedRun], missing: Sequence[TimedRun], rule: Rule
) -> list[str]:
    reasons = []
    measured = len({run.index for run in (*good, *failed)})
    if missing:
        numbers = ", ".join(str(run.index) for run in sorted(missing, key=lambda run: run.index))
        reasons.append(f"invalid: attempt {numbers} could not be measured")
    if rule.converged_runs is not None:
        enough = len(good) >= rule.converged_runs or measured < rule.runs
        if not enough:
            reasons.append(f"invalid: {_count(len(good))} converged, {rule.converged_runs} have to")
    else:
        # a short series that cannot drop anything cannot drop a failure either
        tolerated = rule.max_failures if measured > rule.drop_fastest + rule.drop_slowest else 0
        if len(failed) > tolerated:
            reasons.append(
                f"invalid: {_count(len(failed))} did not converge, {tolerated} may be left out as the slowest"
            )
    if not good and not reasons:
        reasons.append("invalid: no run converged")
    return reasons


def _drop(good: Sequence[TimedRun], failed: Sequence[TimedRun], rule: Rule) -> tuple[list[TimedRun], list[TimedRun]]:
    """(kept, dropped) of `good`, fastest first; failures take the slowest places."""
    last = len(good) - max(0, rule.drop_slowest - len(failed))
    if len(good) + len(failed) <= rule.drop_fastest + rule.drop_slowest:
        return list(good), []
    if last <= rule.drop_fastest:
        return list(good), list(failed)
    return list(good[rule.drop_fastest : last]), [*good[: rule.drop_fastest], *good[last:], *failed]


def _is_timed(run: TimedRun) -> bool:
    counts = run.state is AttemptState.CONVERGED or run.keeps_place
    return counts and run.seconds is not None and 0 <= run.seconds < _LONGEST


def _time(run: TimedRun) -> float:
    return run.seconds if run.seconds is not None else math.inf


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


def _variation(times: Sequence[float]) -> float | None:
    """Sample standard deviation over mean, of all good times."""
    if len(times) < 2 or math.isclose(mean := statistics.fmean(times), 0):
        return None
    return statistics.stdev(times) / mean


def _by_start(run: TimedRun) -> tuple[float, int]:
    return (math.inf if run.start is None else run.start, run.index)
