"""Pure numbers: the olympic mean of timed attempts, and their variance. `rules.judge` decides which attempts count."""

from podium.scoring.olympic import Rule, Score, TimedAttempt, rule_for, rule_of, score
from podium.scoring.variance import Interval, Spread, interval, runs_needed, spread

__all__ = [
    "Interval",
    "Rule",
    "Score",
    "Spread",
    "TimedAttempt",
    "interval",
    "rule_for",
    "rule_of",
    "runs_needed",
    "score",
    "spread",
]  # fmt: skip
