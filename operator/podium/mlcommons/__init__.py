"""Everything that wraps MLCommons' own code (``mlperf_logging``): compliance, reference convergence, packages."""

from podium.mlcommons.checker import MAX_CHARACTERS, MAX_EVENTS, MissingCheckerError, Official, official
from podium.mlcommons.package_checker import package_findings
from podium.mlcommons.rcp import Convergence, convergence, counted_in_samples

__all__ = [
    "MAX_CHARACTERS", "MAX_EVENTS", "Convergence", "MissingCheckerError", "Official", "convergence",
    "counted_in_samples", "official", "package_findings",
]  # fmt: skip
