"""What a metric is called and means: the one place that the page and the reference are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from podium.metrics.sample import RunSample

RUN_LABELS = ("namespace", "run", "benchmark")
# of one sample: the values of the labels beyond RUN_LABELS, and the number; None for a number that is not known
Values = Iterable[tuple[tuple[str, ...], float | None]]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as Prometheus knows it; a counter's name ends in ``_total``.

    The series of a gauge with `values` are made from the runs in memory at each scrape; its labels begin with
    `RUN_LABELS`. All others are counted or set while the operator works.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    type: Literal["gauge", "counter", "histogram"] = "gauge"
    buckets: tuple[float, ...] = ()  # of a histogram, none: the library's
    values: Callable[[RunSample], Values] | None = None
