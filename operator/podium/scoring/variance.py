"""How far to trust a score: its confidence interval, and how many runs a narrower one takes."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Student's t, 97.5 %, for 1 to 30 degrees of freedom
_T = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
    2.0452, 2.0423,
)  # fmt: skip
_Z = 1.959964
MOST_RUNS = 10_000


@dataclass(frozen=True, slots=True)
class Interval:
    """95 % confidence interval of a score, in the unit of the times."""

    low: float
    high: float
    relative: float  # half the width divided by the score


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


def interval(kept: Sequence[float], dropped_fastest: int, dropped_slowest: int) -> Interval | None:
    """Return the interval of the mean of `kept`, from which the fastest and the slowest have been dropped.

    Tukey and McLaughlin's interval of a trimmed mean: the variance is that of the winsorized sample, in which the
    nearest kept run replaces each dropped one. None if fewer than two are kept.
    """
    if len(kept) < 2:
        return None
    n = len(kept) + dropped_fastest + dropped_slowest
    winsorized = [*kept, *[min(kept)] * dropped_fastest, *[max(kept)] * dropped_slowest]
    error = statistics.stdev(winsorized) / (len(kept) / n * math.sqrt(n))
    mean = statistics.fmean(kept)
    half = student_t(len(kept) - 1) * error
    return Interval(mean - half, mean + half, half / mean if mean else math.inf)


def runs_needed(variation: float, dropped: int, within: float = 0.05) -> int | None:
    """Return how many runs, of which `dropped` are dropped, bring the interval within +-`within` of the score.

    Assumes independent runs with the coefficient of variation `variation`; None if it takes more than 10,000.
    """
    for kept in range(2, MOST_RUNS):
        if student_t(kept - 1) * variation / math.sqrt(kept) <= within:
            return kept + dropped
    return None


def student_t(freedom: int) -> float:
    """Return the two-sided 95 % quantile for `freedom` degrees of freedom."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    return _Z + (_Z**3 + _Z) / (4 * freedom) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * freedom**2)
