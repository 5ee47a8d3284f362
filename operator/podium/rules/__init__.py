"""Pure checks of what a person asked for and of what was measured."""

from podium.rules.findings import Finding
from podium.rules.spec import Goal, check_spec, goal_for

__all__ = ["Finding", "Goal", "check_spec", "goal_for"]
