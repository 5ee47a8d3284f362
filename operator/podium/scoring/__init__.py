"""Attempts to score: the olympic mean with its failures, and how much the times vary."""

from podium.scoring.olympic import Outcome, Rule, Score, TimedRun, rule_for, score
from podium.scoring.verdict import Verdict, judge

__all__ = ["Outcome", "Rule", "Score", "TimedRun", "Verdict", "judge", "rule_for", "score"]
