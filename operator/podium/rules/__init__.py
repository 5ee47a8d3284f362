"""Checks a spec against its round, and measurements against the goal. Pure."""

from podium.rules.admission import check_admission
from podium.rules.clock import clock_fault, clock_notes, node_clock_offset, received_in_disorder
from podium.rules.evidence import pace
from podium.rules.findings import Finding
from podium.rules.form import check_form
from podium.rules.goal import Goal, canonical, goal_for, goal_of_log, window_of
from podium.rules.hyperparameters import closed_breach, plain_value, untuned_breach
from podium.rules.judge import Verdict, judge
from podium.rules.log import LogCheck, Seed, repeated_seeds
from podium.rules.spec import check_spec
from podium.rules.sweep import check_sweep
from podium.rules.system import check_system

__all__ = [
    "Finding", "Goal", "LogCheck", "Seed", "Verdict", "canonical", "check_admission", "check_form", "check_spec",
    "check_sweep", "check_system", "clock_fault", "clock_notes", "closed_breach", "goal_for", "goal_of_log", "judge",
    "node_clock_offset", "pace", "plain_value", "received_in_disorder", "repeated_seeds", "untuned_breach",
    "window_of",
]  # fmt: skip
