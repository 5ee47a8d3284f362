"""How far to trust a mean of attempts: its confidence interval, and how many attempts a narrower one takes.

Everything is computed on natural logarithms. A time to train is a product (epochs x seconds per epoch x the rest), what
varies acts on it by a factor, and the ratio of two systems is the difference of two means. The attempt is the unit:
evaluations and blocks of one attempt are not independent.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from podium.scoring.student_t import student_t

MOST_RUNS = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval, in the unit of the values."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean on logs over `runs` attempts, of which `dropped` are dropped.

    `deviation` is the standard deviation of one attempt's log: 0.02 is about 2 %. With dropped attempts, it is that of
    the winsorized sample, divided by the ratio of attempts that are kept (Tukey and McLaughlin 1963).
    """

    log: float
    deviation: float
    runs: int
    dropped: int = 0

    @property
    def value(self) -> float:
        """The geometric mean, in the unit of the values."""
        return math.exp(self.log)

    @property
    def error(self) -> float:
        """The standard error of `log`."""
        return self.deviation / math.sqrt(self.runs)

    @property
    def freedom(self) -> int:
        """Degrees of freedom."""
        return self.runs - self.dropped - 1

    @property
    def half_width(self) -> float:
        """Half the width of the interval of `log`."""
        return student_t(self.freedom) * self.error

    @property
    def relative(self) -> float:
        """By how much the upper end of the interval exceeds the mean, relative to the mean."""
        return math.expm1(self.half_width)

    def interval(self, center: float | None = None) -> Interval:
        """Return the interval of the mean, or that of `center`, another mean of the same attempts."""
        middle = self.value if center is None else center
        return Interval(middle / (1 + self.relative), middle * (1 + self.relative))


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample coefficient of variation of numbers, and how often each number occurs."""

    mean: float
    variation: float | None
    counts: Mapping[float, int]


def spread(values: Sequence[float]) -> Spread | None:
    """Return the spread of `values`; None if there are none."""
    if not values:
        return None
    mean = statistics.fmean(values)
    variation = statistics.stdev(values) / mean if len(values) > 1 and mean > 0 else None
    return Spread(mean, variation, dict(sorted(Counter(values).items())))


def estimate(kept: Sequence[float], dropped_fastest: int = 0, dropped_slowest: int = 0) -> Estimate | None:
    """Return the estimate from the attempts that are kept.

    In the winsorized sample, the nearest kept attempt replaces each dropped one. None if fewer than two are kept or one
    is not above 0.
    """
    if len(kept) < 2 or min(kept) <= 0:
        return None
    logs = [math.log(value) for value in kept]
    winsorized = [*logs, *[min(logs)] * dropped_fastest, *[max(logs)] * dropped_slowest]
    runs = len(winsorized)
    deviation = statistics.stdev(winsorized) * runs / len(logs)
    return Estimate(statistics.fmean(logs), deviation, runs, dropped_fastest + dropped_slowest)


def runs_needed(found: Estimate, within: float = 0.05) -> int | None:
    """Return with how many attempts the interval is within +-`within` of the mean, if they vary as in `found`.

    None if it takes more than 10,000.
    """
    return fewest_runs(lambda runs: replace(found, runs=runs).relative <= within, found.dropped + 2)


def fewest_runs(enough: Callable[[int], bool], least: int) -> int | None:
    """Return the smallest number of runs from `least` to 10,000 that is `enough`, where more always are; else None."""
    low, high = least, MOST_RUNS
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
