"""Numbers only: the olympic mean of timed runs, and how much times vary. What a run is worth, `rules.judge` says."""

from podium.scoring.olympic import Rule, Score, TimedRun, rule_for, rule_of, score
from podium.scoring.variance import Interval, Spread, interval, runs_needed, spread

__all__ = [
    "Interval",
    "Rule",
    "Score",
    "Spread",
    "TimedRun",
    "interval",
    "rule_for",
    "rule_of",
    "runs_needed",
    "score",
    "spread",
]  # fmt: skip
