"""Names and meanings of the metrics: the single source of the metrics page and the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from podium.metrics.sample import RunSample

RUN_LABELS = ("namespace", "run", "benchmark")
# of one sample: the values of the labels other than RUN_LABELS, and the number; None if the number is unknown
Values = Iterable[tuple[tuple[str, ...], float | None]]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric, as Prometheus defines it; a counter's name ends in ``_total``.

    The series of a gauge with `values` are computed from the runs in memory at each scrape; its labels begin with
    `RUN_LABELS`. All others are counted or set as the operator works.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    type: Literal["gauge", "counter", "histogram"] = "gauge"
    buckets: tuple[float, ...] = ()  # of a histogram; empty: the library's
    values: Callable[[RunSample], Values] | None = None
