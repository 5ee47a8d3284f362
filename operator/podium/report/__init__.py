"""Reports: one self-contained page about a result, a whole round or a sweep, with pictures; plots of comparisons."""

from podium.report.comparison import comparison_picture
from podium.report.facts import Report, read_report
from podium.report.page import report_page
from podium.report.sweep import SweepReport, outcome, read_sweep_report
from podium.report.sweep_page import sweep_page

__all__ = [
    "Report", "SweepReport", "comparison_picture", "outcome", "read_report", "read_sweep_report", "report_page",
    "sweep_page",
]  # fmt: skip
