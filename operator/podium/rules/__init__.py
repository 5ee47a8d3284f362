"""Pure checks of what a person asked for and of what was measured."""

from podium.rules.admission import check_admission
from podium.rules.convergence import Convergence, convergence, counted_in_samples
from podium.rules.findings import Finding
from podium.rules.hyperparameters import closed_breach, plain_value, untuned_breach
from podium.rules.log import LogCheck, Seed, repeated_seeds
from podium.rules.official import MAX_CHARACTERS, MAX_EVENTS, MissingCheckerError, Official, official
from podium.rules.spec import Goal, check_spec, goal_for
from podium.rules.system import check_system

__all__ = [
    "MAX_CHARACTERS", "MAX_EVENTS", "Convergence", "Finding", "Goal", "LogCheck", "MissingCheckerError", "Official",
    "Seed", "check_admission", "check_spec", "check_system", "closed_breach", "convergence", "counted_in_samples",
    "goal_for", "official", "plain_value", "repeated_seeds", "untuned_breach",
]  # fmt: skip
