"""Wrappers around MLCommons' own code (``mlperf_logging``): compliance and packages."""

from podium.mlcommons.checker import MAX_CHARACTERS, MAX_EVENTS, UNSAFE, Official, official
from podium.mlcommons.package_checker import package_findings
from podium.mlcommons.process import MissingCheckerError, ToolError

__all__ = [
    "MAX_CHARACTERS", "MAX_EVENTS", "UNSAFE", "MissingCheckerError", "Official", "ToolError", "official",
    "package_findings",
]  # fmt: skip
