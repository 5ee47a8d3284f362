"""Which rows of a fleet (nodes, or groups of nodes) are slow, judged by the rates of all of them.

Everything is computed on natural logarithms of rates. The log of a measured rate is that of its row plus noise, which
is alike in all rows and unknown beforehand. A row is slow if the interval of its deviation from the reference (the
fleet's median, or a baseline) lies below -tolerance, and ok if it lies above; else it is unsure.
docs/explanation/fleet.md says why.

Sources: 1.4826 times the median absolute deviation (MAD) estimates the standard deviation of a normal sample, with an
efficiency of 37 % (Rousseeuw and Croux, "Alternatives to the Median Absolute Deviation", 1993). Where the MAD is 0,
sqrt(pi / 2) times the mean absolute deviation replaces it (Iglewicz and Hoaglin, "How to Detect and Handle Outliers",
1993). The variance of a median is at most about pi / 2 times that of a mean (Kenney and Keeping, "Mathematics of
Statistics", 1962). Verdicts share an error by Bonferroni's inequality.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from podium.scoring.rates import is_rate, logs, mean, rounded
from podium.scoring.ratio import TOLERANCE
from podium.scoring.student_t import student_t

FALSE_ALARMS = 0.01  # of fleets: those in which any row is called slow that is not slower than the tolerance
MISSES = 0.01  # of rows that are slower than the tolerance: those that are called ok

_ENOUGH_FREEDOM = 3  # one or two pairs of equal rates may be equal only because they are rounded
_MAD_EFFICIENCY = 0.37
_LEAST_GROUP = 0.25  # of the rows; a smaller group consists of exceptions
_ROUNDING = 1e-12
_FARTHEST = math.log(1000)  # an interval ends here, so that its ends are numbers that a document can hold
_UNKNOWN_WIDTH = 2.0  # a factor of e to both sides: such an interval says nothing


class RowVerdict(StrEnum):
    """What the rates say about a row."""

    OK = "ok"
    SLOW = "slow"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """The verdict on a row, and why.

    `rate`: the geometric mean of its `rates` (how many), in samples per second. `ignored`: how many values are not
    rates, which are finite and above 0. `deviation` from the reference and the ends of `interval` are ratios: -0.05 is
    5 % slower. The upper end holds for all rows of the fleet at once (`FALSE_ALARMS`), the lower end for each row
    (`MISSES`), after each run. `repeat`: it may get another run, and that may decide. `reason`: a phrase.
    """

    name: str
    verdict: RowVerdict
    rate: float | None
    deviation: float | None
    interval: tuple[float, float] | None
    rates: int
    ignored: int
    repeat: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Split:
    """Two groups of rows; each row in `fast` is faster than each in `slow` by more than tolerance and noise.

    `deviation`: that of the median of `slow` from the median of `fast`, a ratio.
    """

    fast: tuple[str, ...]
    slow: tuple[str, ...]
    deviation: float


@dataclass(frozen=True, slots=True)
class JudgedFleet:
    """The verdicts on all rows, sorted by name, and what they rest on.

    `median`: of the rows' rates, samples per second. `reference`: the rate that deviations are relative to. `spread`:
    1.4826 times the MAD of the rows' rates; `noise`: the standard deviation of one measured rate, as used for the
    verdicts; both are ratios. `worst`: the slowest of the slow rows; if none is slow, the slowest row.
    """

    rows: tuple[JudgedRow, ...]
    median: float | None
    reference: float | None
    spread: float | None
    noise: float | None
    worst: JudgedRow | None
    split: Split | None

    def count(self, verdict: RowVerdict) -> int:
        """Return how many rows have `verdict`."""
        return sum(row.verdict is verdict for row in self.rows)


def judge_fleet(
    rates: Mapping[str, Sequence[float]],
    *,
    tolerance: float = TOLERANCE,
    min_runs: int = 1,
    max_runs: int = 4,
    runs_made: Mapping[str, int] | None = None,
    baseline: float | None = None,
) -> JudgedFleet:
    """Return the verdict on each row of `rates`: name -> the rates measured so far, in samples per second.

    `tolerance` is a ratio, 0.03 for 3 %. A row gets `min_runs` to `max_runs` runs; `runs_made` is how many it had, if
    that is not the number of its values. A `baseline` rate replaces the fleet's median as the reference. Neither the
    order of rows nor that of rates matters. Raises ValueError if `tolerance` or `baseline` makes no sense.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance: {tolerance} is not a ratio from 0 to below 1")
    if baseline is not None and not is_rate(baseline):
        raise ValueError(f"baseline: {baseline} is not a rate above 0")
    made = {name: len(values) for name, values in rates.items()} | dict(runs_made or {})
    rows = [_row(name, rates[name], made[name], max_runs) for name in sorted(rates)]
    measured = [row for row in rows if row.logs]
    alarms = FALSE_ALARMS / max(1, len(rows) * max_runs)
    noise = _noise(measured, alarms)
    scale = None
    if measured and (baseline or len(measured) > 1):
        peers = [] if baseline else _peers(measured, tolerance)
        scale = _Scale(
            tolerance=tolerance,
            reference=math.log(baseline) if baseline else _median(peers),
            variance=_variance_of_median(peers),
            low=noise.reach(MISSES / max_runs),
            high=noise.reach(alarms),
        )
    judged = tuple(_judge(row, scale, min_runs) for row in rows)
    median = _rate(_median(measured)) if measured else None
    return JudgedFleet(
        rows=judged,
        median=median,
        reference=_rate(scale.reference) if scale else baseline or median,
        spread=_spread(measured),
        noise=_ratio(noise.deviation) if noise is not _UNKNOWN else None,
        worst=_worst(judged),
        split=_split(measured, scale) if scale else None,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A row's rates as logs, ascending, and their mean (0 if there is none)."""

    name: str
    logs: tuple[float, ...]
    mean: float
    ignored: int
    runs_made: int
    runs_left: int


@dataclass(frozen=True, slots=True)
class _Noise:
    """An estimate of the standard deviation of one log, its degrees of freedom, and of how many it is the lowest."""

    deviation: float
    freedom: float
    chosen_from: int = 1

    def reach(self, error: float) -> float:
        """Return how far noise takes one log to one side, except with probability `error`."""
        quantile = student_t(self.freedom, 1 - 2 * error / self.chosen_from) if self.deviation else 0.0
        return quantile * self.deviation


_UNKNOWN = _Noise(math.inf, 1.0)


@dataclass(frozen=True, slots=True)
class _Scale:
    """What a row is measured against, as logs.

    `variance`: of the reference, relative to that of one log. `low`, `high`: how far noise takes one log at most. Only
    `high` covers all rows at once, so that healthy rows need not be repeated because others are many.
    """

    tolerance: float
    reference: float
    variance: float
    low: float
    high: float

    @property
    def edge(self) -> float:
        return math.log1p(-self.tolerance)

    def disagree(self, row: _Row) -> bool:
        """Return whether two runs of a row differ by more than noise explains."""
        return row.logs[-1] - row.logs[0] > math.sqrt(2) * self.high + _ROUNDING

    def interval(self, row: _Row) -> tuple[float, float]:
        """Return the interval of the row's deviation.

        If its runs disagree, a run was slow by itself or the row is not steady. Then the upper end is that of its
        fastest run alone, and the lower end that of the median of its runs, if that is lower.
        """
        width = math.sqrt(1 / len(row.logs) + self.variance)
        bottom, top = row.mean - self.low * width, row.mean + self.high * width
        if self.disagree(row):
            bottom = min(bottom, statistics.median_low(row.logs) - self.low * width)
            top = row.logs[-1] + self.high * math.sqrt(1 + self.variance)
        return bottom - self.reference, top - self.reference


def _row(name: str, values: Sequence[float], made: int, max_runs: int) -> _Row:
    found = logs(values)
    middle = mean(found) if found else 0.0
    return _Row(name, found, middle, len(values) - len(found), made, max(0, max_runs - made))


def _median(rows: Sequence[_Row]) -> float:
    return statistics.median(row.mean for row in rows)


def _peers(measured: Sequence[_Row], tolerance: float) -> list[_Row]:
    """Return the rows whose median is the reference: all, unless one half is faster than the other.

    Then no row is near the median of all, which is between the halves, and the faster half shows what is possible.
    """
    rows = sorted(measured, key=lambda row: row.mean)
    half = len(rows) // 2
    if len(rows) % 2 == 0 and rows[half - 1].mean < rows[half].mean + math.log1p(-tolerance) - _ROUNDING:
        return rows[half:]
    return rows


def _variance_of_median(rows: Sequence[_Row]) -> float:
    """Return the variance that noise gives the median of `rows`, relative to that of one log; 0 without rows."""
    if not rows:
        return 0.0
    return min(1.0, math.pi / 2 / len(rows)) * statistics.fmean(1 / len(row.logs) for row in rows)


def _deviation(residuals: Sequence[float]) -> float:
    """Return the standard deviation of residuals, of which fewer than half may be exceptions."""
    sizes = [abs(residual) if abs(residual) > _ROUNDING else 0.0 for residual in residuals]
    return 1.4826 * statistics.median(sizes) or math.sqrt(math.pi / 2) * mean(sizes)


def _spread(measured: Sequence[_Row]) -> float | None:
    if len(measured) < 2:
        return None
    median = _median(measured)
    return _ratio(_deviation([row.mean - median for row in measured]))


def _noise(measured: Sequence[_Row], error: float) -> _Noise:
    """Return the estimate of the noise that reaches less far than the others.

    Repeated rates of a row differ by noise only: their pooled standard deviation, or MAD if one row is not steady. Rows
    differ at least by noise: their MAD may be too high, but one rate each is enough, and slow rows don't change it.
    """
    estimates = []
    repeated = [row for row in measured if len(row.logs) > 1]
    freedom = sum(len(row.logs) - 1 for row in repeated)
    within = [(log - row.mean) * math.sqrt(len(row.logs) / (len(row.logs) - 1)) for row in repeated for log in row.logs]
    vary = any(row.logs[-1] > row.logs[0] for row in repeated)
    if len(measured) > 1:
        median = _median(measured)
        among = _deviation([math.sqrt(len(row.logs)) * (row.mean - median) for row in measured])
        if among > 0 or not vary:
            estimates.append(_Noise(among, max(1.0, _MAD_EFFICIENCY * (len(measured) - 1))))
    if freedom >= (_ENOUGH_FREEDOM if estimates or not vary else 1):
        squares = math.fsum((log - row.mean) ** 2 for row in repeated for log in row.logs) if vary else 0.0
        estimates.append(_Noise(math.sqrt(squares / freedom), freedom))
        estimates.append(_Noise(_deviation(within), max(1.0, _MAD_EFFICIENCY * freedom)))
    shared = [replace(estimate, chosen_from=len(estimates)) for estimate in estimates]
    return min(shared, key=lambda estimate: estimate.reach(error), default=_UNKNOWN)


def _judge(row: _Row, scale: _Scale | None, min_runs: int) -> JudgedRow:
    """Return the verdict on one row; `scale` is None if there is nothing to compare it with."""
    verdict, deviation, interval = RowVerdict.UNSURE, None, None
    repeat = row.runs_left > 0
    if not row.logs:
        reason = "no rate yet" if repeat else "no rate"
    elif scale is None:
        reason = "no other row has a rate to compare with, and there is no baseline"
        repeat = repeat and row.runs_made < min_runs
    else:
        low, high = scale.interval(row)
        deviation, interval = _ratio(row.mean - scale.reference), (_ratio(low), _ratio(high))
        verdict, reason = _verdict(row, scale, min_runs)
        repeat = repeat and verdict is RowVerdict.UNSURE
    if row.ignored:
        reason += f"; {row.ignored} ignored, not a finite number above 0"
    rate = _rate(row.mean) if row.logs else None
    return JudgedRow(row.name, verdict, rate, deviation, interval, len(row.logs), row.ignored, repeat, reason)


def _verdict(row: _Row, scale: _Scale, min_runs: int) -> tuple[RowVerdict, str]:
    """Return the verdict on a row that has a rate and something to compare it with, and the reason."""
    low, high = scale.interval(row)
    compared = _compared(row.mean - scale.reference)
    found = f"{compared} ({100 * _ratio(low):+.1f} to {100 * _ratio(high):+.1f} %)"
    slow, ok = high < scale.edge - _ROUNDING, low >= scale.edge - _ROUNDING
    if row.runs_made < min_runs and row.runs_left:
        doubt = f" after {row.runs_made} of at least {min_runs} runs"
    elif slow and len(row.logs) == 1 and row.runs_left:
        doubt = " in one run, to be confirmed by another"  # now and then a run is slow by itself
    elif slow or ok:
        return (RowVerdict.SLOW if slow else RowVerdict.OK), found
    elif scale.disagree(row):
        doubt = f": its rates differ by {100 * math.expm1(row.logs[-1] - row.logs[0]):.1f} %, more than by noise"
    elif high - low > _UNKNOWN_WIDTH:
        return RowVerdict.UNSURE, f"{compared}, with too few rates to know the noise"
    else:
        doubt = f": the interval includes {-100 * scale.tolerance:.1f} %"
    return RowVerdict.UNSURE, found + doubt


def _compared(log: float) -> str:
    percent = 100 * abs(_ratio(log))
    return f"{percent:.1f} % {'slower' if log < 0 else 'faster'}" if percent >= 0.05 else "as fast"


def _ratio(log: float) -> float:
    return rounded(math.expm1(max(-_FARTHEST, min(log, _FARTHEST))))


def _rate(log: float) -> float:
    return rounded(math.exp(log))


def _worst(judged: Sequence[JudgedRow]) -> JudgedRow | None:
    rated = [row for row in judged if row.rate is not None]
    slow = [row for row in rated if row.verdict is RowVerdict.SLOW]
    return min(slow or rated, key=lambda row: (row.rate, row.name), default=None)


def _split(measured: Sequence[_Row], scale: _Scale) -> Split | None:
    """Return the two groups that the rows fall into, if the gap between them is wider than the tolerance and noise."""
    rows = sorted(measured, key=lambda row: row.mean)
    least = max(1, math.ceil(_LEAST_GROUP * len(rows)))
    cut = max(range(least, len(rows) - least + 1), key=lambda i: rows[i].mean - rows[i - 1].mean, default=0)
    if not cut:
        return None
    slow, fast = rows[:cut], rows[cut:]
    noise = scale.high * math.sqrt(1 / len(slow[-1].logs) + 1 / len(fast[0].logs))
    if fast[0].mean - slow[-1].mean <= max(-scale.edge, noise) + _ROUNDING:
        return None
    names = [tuple(sorted(row.name for row in group)) for group in (fast, slow)]
    return Split(names[0], names[1], _ratio(_median(slow) - _median(fast)))
