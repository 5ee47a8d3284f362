"""MLPerf logs: an incremental parser of the three formats, and what a log says."""

from podium.mllog.logbook import LogBuffer
from podium.mllog.parser import Parser, is_mlperf_line, parse, parse_line
from podium.mllog.record import Event, Format, Problem
from podium.mllog.summary import Evaluation, LogAccumulator, LogSummary, in_unit_of, reached, seconds, summarize

__all__ = [
    "Evaluation",
    "Event",
    "Format",
    "LogAccumulator",
    "LogBuffer",
    "LogSummary",
    "Parser",
    "Problem",
    "in_unit_of",
    "is_mlperf_line",
    "parse",
    "parse_line",
    "reached",
    "seconds",
    "summarize",
]  # fmt: skip
