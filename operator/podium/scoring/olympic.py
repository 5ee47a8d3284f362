"""The MLPerf Training score: the olympic mean of attempts.

Rule (mlcommons/training_policies, "Benchmark Results"; v0.5 verify tool for NCF): sort the good times, drop the
fastest, drop the slowest, take the mean. An attempt that did not converge ranks slowest regardless of its time; more of
them than may be dropped make the result invalid. So do those that broke a rule: MLCommons accepts one log that does not
comply "under olympic scoring" (mlperf_logging/package_checker/package_checker.py). One whose time is nevertheless
correct is ranked by its time, which is our reading: result_summarizer.py of 4.1.68 drops it as the slowest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from podium.api import AttemptState
from podium.rounds import Benchmark, Round

_LONGEST = 1e12  # seconds: beyond any real clock, and sums stay finite


@dataclass(frozen=True, slots=True)
class TimedAttempt:
    """One attempt: `seconds` from run_start to run_stop; `start` (unix seconds) orders them if the rule requires it.

    A failed or aborted one is not a measurement; an invalid one is, and counts as not converged. `keeps_place`: it
    would have converged within its `seconds` had it not broken a rule that does not affect them.
    """

    index: int
    state: AttemptState
    seconds: float | None = None
    start: float | None = None
    keeps_place: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """How many attempts a benchmark requires, and how many are dropped."""

    runs: int
    drop_fastest: int = 1
    drop_slowest: int = 1
    max_failures: int = 1
    converged_runs: int | None = None  # only this many are scored, the first to converge (NCF in v0.5)


@dataclass(frozen=True, slots=True)
class Score:
    """The score of a result. `seconds` is None if the result is invalid; `reasons` are sentences.

    `dropped` and `scored` are indices of attempts. One that did not converge and ranks slowest is among the dropped.
    Of more attempts than the rule requires, only those in `designated` are either; it is empty where all count.
    `coefficient_of_variation`: sample standard deviation divided by the mean of all converged attempts that the rule
    considers, including the dropped ones.
    """

    seconds: float | None
    valid: bool
    official: bool
    dropped: tuple[int, ...]
    scored: tuple[int, ...]
    failures: int
    coefficient_of_variation: float | None
    reasons: tuple[str, ...]
    designated: tuple[int, ...] = ()

    def counts(self, index: int) -> bool:
        """Return whether an attempt is scored or dropped, and not one beside the designated ones."""
        return not self.designated or index in self.designated

    @property
    def minutes(self) -> float | None:
        return None if self.seconds is None else self.seconds / 60


def rule_for(round_: Round, benchmark: str) -> Rule:
    """Return the rule of a round's benchmark. Raises KeyError if the round does not have it."""
    return rule_of(round_.benchmarks[benchmark])


def rule_of(benchmark: Benchmark) -> Rule:
    """Return the rule of a benchmark, as its round describes it."""
    return Rule(
        runs=benchmark.runs,
        drop_fastest=benchmark.drop_fastest,
        drop_slowest=benchmark.drop_slowest,
        max_failures=benchmark.max_failures,
        converged_runs=benchmark.converged_runs,
    )


def score(attempts: Sequence[TimedAttempt], rule: Rule) -> Score:
    """Return the olympic mean of `attempts`, in any order.

    Of more attempts than the rule requires, the consecutive ones with the median score count (training_rules.adoc,
    "Scoring"; training_policies PR 467): each group of `rule.runs` attempts in a row, by start, is scored, an invalid
    one as infinitely slow. With an even number of groups, it is the slower of the two in the middle. With fewer
    attempts than the rule requires, the score is valid but not official; with too few to drop any, it is the mean.
    """
    if len(attempts) <= rule.runs or rule.converged_runs is not None:
        return _score(attempts, rule)
    in_order = sorted(attempts, key=_by_start)
    groups = [in_order[first : first + rule.runs] for first in range(len(in_order) - rule.runs + 1)]
    scores = [(found, group) for group in groups if (found := _score(group, rule))]
    scores.sort(key=lambda pair: math.inf if pair[0].seconds is None else pair[0].seconds)
    chosen, group = scores[len(scores) // 2]
    return replace(chosen, designated=tuple(attempt.index for attempt in group))


def _score(attempts: Sequence[TimedAttempt], rule: Rule) -> Score:
    """Return the olympic mean of all `attempts`."""
    good = sorted(
        (attempt for attempt in attempts if _is_timed(attempt)), key=lambda attempt: (_time(attempt), attempt.index)
    )
    failed = [attempt for attempt in attempts if attempt.state in (AttemptState.NOT_CONVERGED, AttemptState.INVALID)]
    missing = [attempt for attempt in attempts if attempt not in good and attempt not in failed]
    reasons = _why_invalid(good, failed, missing, rule)
    valid = not reasons
    if len(attempts) > rule.runs:
        reasons.append(f"not official: {len(attempts)} attempts, more than the {rule.runs} that the rules require")
    elif len(attempts) < rule.runs:
        reasons.append(f"not official: {len(attempts)} of the {rule.runs} attempts that the rules require")
    if rule.converged_runs is None:
        considered, slowest = good, [attempt for attempt in failed if attempt not in good]
    else:  # the first to converge; failed ones are already excluded
        first = sorted(good, key=_by_start)[: rule.converged_runs]
        considered, slowest = [attempt for attempt in good if attempt in first], []
    kept, dropped = _drop(considered, slowest, rule)
    if valid and not dropped and rule.drop_fastest + rule.drop_slowest > 0:
        few = "1 attempt is" if len(attempts) == 1 else f"{len(attempts)} attempts are"
        reasons.append(f"nothing was dropped: {few} too few to drop the fastest and the slowest")
    return Score(
        seconds=statistics.fmean(map(_time, kept)) if valid else None,
        valid=valid,
        official=valid and len(attempts) == rule.runs,
        dropped=tuple(sorted(attempt.index for attempt in dropped)),
        scored=tuple(sorted(attempt.index for attempt in kept)) if valid else (),
        failures=len(failed),
        coefficient_of_variation=_variation([_time(attempt) for attempt in considered]),
        reasons=tuple(reasons),
    )


def _why_invalid(
    good: Sequence[TimedAttempt], failed: Sequence[TimedAttempt], missing: Sequence[TimedAttempt], rule: Rule
) -> list[str]:
    reasons = []
    measured = len({attempt.index for attempt in (*good, *failed)})
    if missing:
        numbers = ", ".join(str(attempt.index) for attempt in sorted(missing, key=lambda attempt: attempt.index))
        reasons.append(f"invalid: attempt {numbers} could not be measured")
    if rule.converged_runs is not None:
        enough = len(good) >= rule.converged_runs or measured < rule.runs
        if not enough:
            reasons.append(f"invalid: {_count(len(good))} converged, {rule.converged_runs} must")
    else:
        # a short series that cannot drop anything cannot drop a failure either
        tolerated = rule.max_failures if measured > rule.drop_fastest + rule.drop_slowest else 0
        if len(failed) > tolerated:
            reasons.append(
                f"invalid: {_count(len(failed))} did not converge, at most {tolerated} may be dropped as the slowest"
            )
    if not good and not reasons:
        reasons.append("invalid: no attempt converged")
    return reasons


def _drop(
    good: Sequence[TimedAttempt], failed: Sequence[TimedAttempt], rule: Rule
) -> tuple[list[TimedAttempt], list[TimedAttempt]]:
    """Return (kept, dropped) of `good`, fastest first; failures rank slowest."""
    last = len(good) - max(0, rule.drop_slowest - len(failed))
    if len(good) + len(failed) <= rule.drop_fastest + rule.drop_slowest:
        return list(good), []
    if last <= rule.drop_fastest:
        return list(good), list(failed)
    return list(good[rule.drop_fastest : last]), [*good[: rule.drop_fastest], *good[last:], *failed]


def _is_timed(attempt: TimedAttempt) -> bool:
    counts = attempt.state is AttemptState.CONVERGED or attempt.keeps_place
    return counts and attempt.seconds is not None and 0 <= attempt.seconds < _LONGEST


def _time(attempt: TimedAttempt) -> float:
    return attempt.seconds if attempt.seconds is not None else math.inf


def _count(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


def _variation(times: Sequence[float]) -> float | None:
    """Return the sample standard deviation of all good times, divided by their mean."""
    if len(times) < 2 or math.isclose(mean := statistics.fmean(times), 0):
        return None
    return statistics.stdev(times) / mean


def _by_start(attempt: TimedAttempt) -> tuple[float, int]:
    return (math.inf if attempt.start is None else attempt.start, attempt.index)
