"""Pure numbers: olympic mean, intervals, ratios of two groups. `rules.judge` decides which attempts count."""

from podium.scoring.intervals import Estimate, Interval, Spread, estimate, runs_needed, spread
from podium.scoring.olympic import Rule, Score, TimedAttempt, rule_for, rule_of, score
from podium.scoring.ratio import TOLERANCE, Answer, Expectation, Ratio, answer, holds, more_runs
from podium.scoring.student_t import student_t

__all__ = [
    "TOLERANCE",
    "Answer",
    "Estimate",
    "Expectation",
    "Interval",
    "Ratio",
    "Rule",
    "Score",
    "Spread",
    "TimedAttempt",
    "answer",
    "estimate",
    "holds",
    "more_runs",
    "rule_for",
    "rule_of",
    "runs_needed",
    "score",
    "spread",
    "student_t",
]  # fmt: skip
