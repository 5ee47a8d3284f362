"""Where the level of a series of results changes: a driver was updated, a cable failed, a node was repaired."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from podium.scoring.student_t import student_t

FALSE_ALARMS = 0.001  # the probability of a change in a series that has none: series are looked at after every result
_LEAST = 2  # results on each side
_ENOUGH = 6  # results from which on spikes are told from noise
_SPIKE = 5.0  # standard deviations
_EXACT = 1e-12  # below it, differences are those of rounding


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
    logs = _without_spikes([math.log(value) for value in values])
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


def _without_spikes(logs: Sequence[float]) -> list[float]:
    """Return the values with each spike replaced by its neighbors' mean: a single slow result, which is no level.

    A spike is on the same side of both neighbors (of the first and the last value: of the two next to it), far beyond
    the noise, which is estimated from the median of the steps between neighbors.
    """
    if len(logs) < _ENOUGH:
        return list(logs)
    noise = 1.4826 * statistics.median(abs(b - a) for a, b in pairwise(logs)) / math.sqrt(2)
    found = list(logs)
    for at, value in enumerate(logs):
        first = min(max(at - 1, 0), len(logs) - 3)
        beside = [logs[near] for near in range(first, first + 3) if near != at]
        steps = [value - other for other in beside]
        if min(map(abs, steps)) > _SPIKE * noise and (min(steps) > 0 or max(steps) < 0):
            found[at] = statistics.fmean(beside)
    return found
