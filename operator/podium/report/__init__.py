"""Reports: one self-contained page about a result or a whole round, with its pictures; and plots of comparisons."""

from podium.report.comparison import comparison_picture
from podium.report.facts import Report, read_report
from podium.report.page import report_page

__all__ = ["Report", "comparison_picture", "read_report", "report_page"]
