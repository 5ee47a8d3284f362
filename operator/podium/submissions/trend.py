"""The results of one system in the order of time, and where their level changed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from podium.api import rfc3339
from podium.scoring import Change, changes
from podium.submissions.answers import Quantity
from podium.submissions.entries import ScoredResult
from podium.submissions.rates import rate_of


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """What the results of a series share: a change of any of these is one of the benchmark, not of the system."""

    round: str
    benchmark: str
    system: str
    chips: int
    batch_size: int
    name: str  # of the quantity, such as "seconds per sample"


@dataclass(frozen=True, slots=True)
class Point:
    """One result: when its first attempt started (unix seconds), and the mean of its attempts, in seconds.

    `near` is by how much the 95 % interval over its attempts exceeds the mean, relative to it; None for one attempt.
    """

    path: str
    started: float
    value: float
    near: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """Results from the earliest to the latest."""

    key: SeriesKey
    points: tuple[Point, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """Where the level changes; a larger value is a slower one."""
        return changes([point.value for point in self.points])

    @property
    def level(self) -> tuple[Point, ...]:
        """The results since the last change."""
        found = self.changes
        return self.points[found[-1].index :] if found else self.points

    def before(self, started: float) -> Series:
        """Return the results that started earlier (unix seconds)."""
        return Series(self.key, tuple(point for point in self.points if point.started < started))

    def document(self) -> dict[str, Any]:
        """As printed by ``--json``."""
        ratios = {change.index: change.ratio for change in self.changes}
        return {
            "round": self.key.round,
            "benchmark": self.key.benchmark,
            "system": self.key.system,
            "chips": self.key.chips or None,
            "batchSize": self.key.batch_size or None,
            "quantity": self.key.name,
            "results": [
                {
                    "path": point.path,
                    "started": rfc3339(point.started),
                    "seconds": point.value,
                    "relativeInterval": point.near,
                    "change": ratios.get(index),
                }
                for index, point in enumerate(self.points)
            ],
        }


def series_of(entries: Iterable[ScoredResult], quantity: Quantity = Quantity.RATE) -> tuple[Series, ...]:
    """Return a series for each system, benchmark, batch size and so on. A result without the quantity is left out."""
    found: dict[SeriesKey, list[Point]] = defaultdict(list)
    for entry in entries:
        if point := point_of(entry, quantity):
            found[point[0]].append(point[1])
    return tuple(
        Series(key, tuple(sorted(points, key=lambda point: (point.started, point.path))))
        for key, points in sorted(found.items())
    )


def point_of(entry: ScoredResult, quantity: Quantity) -> tuple[SeriesKey, Point] | None:
    """Return a result's series and place in it; None if it has no start or not the quantity: time or rate."""
    starts = [at for log in entry.logs.values() if (at := log.init_start or log.run_start)]
    measured = _time(entry) if quantity is Quantity.TIME else _rate(entry)
    if measured is None or not starts:
        return None
    name, value, near = measured
    sizes = {log.global_batch_size for log in entry.logs.values()}
    batch = sizes.pop() if len(sizes) == 1 else None
    key = SeriesKey(entry.round, entry.benchmark, entry.system, entry.chips or 0, batch or 0, name)
    return key, Point(entry.path, min(starts), value, near)


def _rate(entry: ScoredResult) -> tuple[str, float, float | None] | None:
    found = rate_of(entry)
    if found is None:
        return None
    samples = found.samples or 1
    near = found.estimate.relative if found.estimate else None
    return f"seconds per {'sample' if found.samples else found.per}", found.seconds / samples, near


def _time(entry: ScoredResult) -> tuple[str, float, float | None] | None:
    if not entry.score.valid or not entry.minutes or not math.isfinite(entry.minutes):
        return None
    return "seconds to train", 60 * entry.minutes, None


def sparkline(values: Sequence[float]) -> str:
    """Return a bar for each value, the highest for the largest; the middle one if all are equal."""
    bars = "▁▂▃▄▅▆▇█"
    low, high = min(values), max(values)
    span = high - low
    middle = len(bars) // 2
    return "".join(bars[round((value - low) / span * (len(bars) - 1))] if span else bars[middle] for value in values)
