"""How much the attempts of an entry vary in epochs to the target and in time to train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from podium.scoring import Estimate, Interval, Spread, estimate, runs_needed, spread
from podium.submissions.entries import ScoredResult

WITHIN = 0.05  # how close, relative to the score, MLPerf wants results of one system to be


@dataclass(frozen=True, slots=True)
class Variance:
    """`epochs` and `minutes` are of converged attempts.

    `estimate` is that of the score, in minutes, without the attempts that it drops; `interval` and `runs_needed` (for
    +-5 %) follow from it.
    """

    entry: ScoredResult
    epochs: Spread | None
    minutes: Spread | None
    estimate: Estimate | None

    @property
    def interval(self) -> Interval | None:
        """The 95 % confidence interval of the score, in minutes."""
        return None if self.estimate is None else self.estimate.interval(self.entry.minutes)

    @property
    def runs_needed(self) -> int | None:
        """How many attempts bring the interval within 5 % of the score, if they vary as these do."""
        return None if self.estimate is None else runs_needed(self.estimate, WITHIN)

    def document(self) -> dict[str, Any]:
        """As printed by ``--json``."""
        e = self.entry
        return {
            "round": e.round,
            "org": e.org,
            "system": e.system,
            "benchmark": e.benchmark,
            "runs": len(e.verdicts),
            "converged": sum(self.minutes.counts.values()) if self.minutes else 0,
            "failed": e.score.failures,
            "epochs": _document(self.epochs),
            "minutes": e.minutes,
            "timeVariation": self.minutes.variation if self.minutes else None,
            "interval": [interval.low, interval.high] if (interval := self.interval) else None,
            "intervalRelative": self.estimate.relative if self.estimate else None,
            "runsNeededFor5Percent": self.runs_needed,
        }


def variance(entry: ScoredResult) -> Variance:
    """The variance over all converged attempts, including those that the score drops. Epochs are counted from 1."""
    converged = {i: v for i, v in entry.verdicts.items() if v.converged and v.seconds is not None}
    offset = 0 if entry.first_epoch else 1
    epochs = [epoch + offset for i in converged if (epoch := _epoch(entry, i)) is not None]
    minutes = [v.seconds / 60 * entry.scaling for v in converged.values() if v.seconds is not None]
    return Variance(entry=entry, epochs=spread(epochs), minutes=spread(minutes), estimate=_estimate(entry))


def _estimate(entry: ScoredResult) -> Estimate | None:
    kept = [entry.verdicts[i].seconds for i in entry.score.scored]
    times = [seconds / 60 * entry.scaling for seconds in kept if seconds is not None]
    if not entry.score.dropped:
        return estimate(times)
    return estimate(times, entry.rule.drop_fastest, entry.rule.drop_slowest)


def _epoch(entry: ScoredResult, index: int) -> float | None:
    """The logged epoch of the evaluation that reached the target, or of the last one if no target is known."""
    log = entry.logs[index]
    if not log.evaluations:
        return None
    found = entry.goal.reached(log) if entry.target else log.evaluations[-1]
    return found.epoch if found else None


def _document(found: Spread | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "mean": found.mean,
        "variation": found.variation,
        "histogram": [{"epochs": value, "runs": count} for value, count in found.counts.items()],
    }
