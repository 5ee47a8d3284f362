"""Pure checks of what a person asked for and of what was measured."""

from podium.rules.admission import check_admission
from podium.rules.findings import Finding
from podium.rules.hyperparameters import closed_breach, plain_value, untuned_breach
from podium.rules.log import LogCheck, Seed, repeated_seeds
from podium.rules.spec import Goal, check_spec, goal_for
from podium.rules.system import check_system

__all__ = [
    "Finding", "Goal", "LogCheck", "Seed", "check_admission", "check_spec", "check_system", "closed_breach", "goal_for",
    "plain_value", "repeated_seeds", "untuned_breach",
]  # fmt: skip
