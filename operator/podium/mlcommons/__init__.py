"""Wrappers around MLCommons' own code (``mlperf_logging``): compliance, reference convergence, packages."""

from podium.mlcommons.checker import MAX_CHARACTERS, MAX_EVENTS, UNSAFE, Official, official
from podium.mlcommons.package_checker import package_findings
from podium.mlcommons.process import MissingCheckerError, ToolError
from podium.mlcommons.rcp import Convergence, convergence, counted_in_samples, in_unit_of_points, scales_scores

__all__ = [
    "MAX_CHARACTERS", "MAX_EVENTS", "UNSAFE", "Convergence", "MissingCheckerError", "Official", "ToolError",
    "convergence", "counted_in_samples", "in_unit_of_points", "official", "package_findings", "scales_scores",
]  # fmt: skip
