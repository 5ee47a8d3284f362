"""MLPerf logs: an incremental parser for the three formats, and a summary of a log."""

from podium.mllog.logbook import MAX_MLPERF_BYTES, LogBuffer, last_output
from podium.mllog.parser import Parser, is_mlperf_line, parse, parse_line
from podium.mllog.rate import Points, Rate, Window
from podium.mllog.readings import evaluations_by_metric, in_unit_of, rate, seconds
from podium.mllog.record import Event, Format, Problem
from podium.mllog.replay import replayed
from podium.mllog.segments import Segment
from podium.mllog.sightings import MAX_EVALUATIONS_SEEN, SEEN_KEYS, Sighting, Sightings
from podium.mllog.spool import BoundedSpool
from podium.mllog.summary import Evaluation, LogAccumulator, LogSummary, summarize

__all__ = [
    "MAX_EVALUATIONS_SEEN",
    "MAX_MLPERF_BYTES",
    "SEEN_KEYS",
    "BoundedSpool",
    "Evaluation",
    "Event",
    "Format",
    "LogAccumulator",
    "LogBuffer",
    "LogSummary",
    "Parser",
    "Points",
    "Problem",
    "Rate",
    "Segment",
    "Sighting",
    "Sightings",
    "Window",
    "evaluations_by_metric",
    "in_unit_of",
    "is_mlperf_line",
    "last_output",
    "parse",
    "parse_line",
    "rate",
    "replayed",
    "seconds",
    "summarize",
]  # fmt: skip
