"""Where the level of a series of results changes: a driver was updated, a cable failed, a node was repaired."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from podium.scoring.student_t import student_t

FALSE_ALARMS = 0.001  # the probability of a change in a series that has none: series are looked at after every result
_LEAST = 2  # results on each side: a single slow one is an outlier


@dataclass(frozen=True, slots=True)
class Change:
    """From the result at `index` on, values are `ratio` times as large as those since the change before."""

    index: int
    ratio: float


def changes(values: Sequence[float]) -> tuple[Change, ...]:
    """Return the changes of level in `values`, which are above 0 and in the order in which they were measured.

    Binary segmentation on logarithms: the split at which the means of both sides differ most, by Student's t with
    their pooled variance, is a change if t is larger than it would be by chance, with Bonferroni's correction for the
    number of splits; then each side is looked at in the same way.
    """
    logs = [math.log(value) for value in values]
    starts = sorted(_splits(logs, 0, len(logs)))
    bounds = [0, *starts, len(logs)]
    means = [math.fsum(logs[a:b]) / (b - a) for a, b in pairwise(bounds) if b > a]
    steps = zip(starts, pairwise(means), strict=True)
    return tuple(Change(at, math.exp(after - before)) for at, (before, after) in steps)


def _splits(logs: Sequence[float], start: int, end: int) -> list[int]:
    """Return where the level changes within `logs[start:end]`, in no order."""
    at, largest = _best_split(logs[start:end])
    splits = end - start - 2 * _LEAST + 1
    if splits < 1 or largest <= student_t(end - start - 2, 1 - FALSE_ALARMS / splits):
        return []
    if _is_outlier(logs[start:end], at):
        return []
    middle = start + at
    return [middle, *_splits(logs, start, middle), *_splits(logs, middle, end)]


def _best_split(logs: Sequence[float]) -> tuple[int, float]:
    """Return the split with the largest t, and that; (0, 0.0) if there are too few values."""
    count, center = len(logs), math.fsum(logs) / len(logs) if logs else 0.0
    sums = [0.0, *accumulate(value - center for value in logs)]
    squares = math.fsum((value - center) ** 2 for value in logs)
    best = (0, 0.0)
    for at in range(_LEAST, count - _LEAST + 1):
        left, right = sums[at] / at, (sums[-1] - sums[at]) / (count - at)
        within = squares - at * left**2 - (count - at) * right**2  # the sum of squares around the two means
        apart = abs(right - left) / math.sqrt(1 / at + 1 / (count - at))
        noise = math.sqrt(max(within, 0.0) / (count - 2))
        t = apart / noise if noise > _EXACT * abs(apart) else (math.inf if apart > _EXACT else 0.0)
        best = max(best, (at, t), key=lambda found: found[1])
    return best


def _is_outlier(logs: Sequence[float], at: int) -> bool:
    """Return whether one value makes the split at `at`: without it, the shorter side is not different."""
    few, many = sorted((logs[:at], logs[at:]), key=len)
    level = math.fsum(many) / len(many)
    rest = sorted(few, key=lambda value: abs(value - level))[:-1]
    noise = math.sqrt(math.fsum((value - level) ** 2 for value in many) / (len(many) - 1))
    apart = abs(math.fsum(rest) / len(rest) - level) / math.sqrt(1 / len(rest) + 1 / len(many))
    return apart <= student_t(len(many) - 1) * noise


_EXACT = 1e-12  # below it, differences are those of rounding
