"""Pure numbers: olympic mean, intervals, comparisons, fleets. `rules.judge` decides which attempts count."""

from podium.scoring.convergence import Convergence, convergence, kept_mean, scales_scores
from podium.scoring.fleet import JudgedFleet, JudgedRow, RowVerdict, Split, judge_fleet
from podium.scoring.forecast import HOPELESS, Forecast, forecast
from podium.scoring.intervals import Estimate, Interval, Spread, estimate, runs_needed, spread
from podium.scoring.olympic import Rule, Score, TimedAttempt, rule_for, rule_of, score
from podium.scoring.ratio import (
    TOLERANCE,
    Answer,
    Difference,
    Expectation,
    Prediction,
    Ratio,
    answer,
    holds,
    more_runs,
)
from podium.scoring.scaling_curve import Scaling, ScalingCurve, ScalingPoint, scaling_curve
from podium.scoring.student_t import student_t
from podium.scoring.trend import Change, changes

__all__ = [
    "HOPELESS",
    "TOLERANCE",
    "Answer",
    "Change",
    "Convergence",
    "Difference",
    "Estimate",
    "Expectation",
    "Forecast",
    "Interval",
    "JudgedFleet",
    "JudgedRow",
    "Prediction",
    "Ratio",
    "RowVerdict",
    "Rule",
    "Scaling",
    "ScalingCurve",
    "ScalingPoint",
    "Score",
    "Split",
    "Spread",
    "TimedAttempt",
    "answer",
    "changes",
    "convergence",
    "estimate",
    "forecast",
    "holds",
    "judge_fleet",
    "kept_mean",
    "more_runs",
    "rule_for",
    "rule_of",
    "runs_needed",
    "scales_scores",
    "scaling_curve",
    "score",
    "spread",
    "student_t",
]  # fmt: skip
