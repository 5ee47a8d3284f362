"""Attempts to score: the olympic mean with its failures, and how much the times vary."""

from podium.scoring.olympic import Outcome, Rule, Score, TimedRun, rule_for, score

__all__ = ["Outcome", "Rule", "Score", "TimedRun", "rule_for", "score"]
