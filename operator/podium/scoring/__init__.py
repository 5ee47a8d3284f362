"""Attempts to score: the olympic mean with its failures, and how much the times vary."""

from podium.scoring.olympic import Rule, RunOutcome, Score, TimedRun, rule_for, rule_of, score
from podium.scoring.variance import Interval, Spread, interval, runs_needed, spread
from podium.scoring.verdict import Verdict, judge

__all__ = [
    "Interval",
    "Rule",
    "RunOutcome",
    "Score",
    "Spread",
    "TimedRun",
    "Verdict",
    "interval",
    "judge",
    "rule_for",
    "rule_of",
    "runs_needed",
    "score",
    "spread",
]  # fmt: skip
