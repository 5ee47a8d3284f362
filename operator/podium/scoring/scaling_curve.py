"""How well a system scales: the efficiency of each node count relative to the smallest, its interval, and the knee.

On logs, as in `fleet`: noise is alike at all node counts, and is estimated from their repeated rates together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from podium.scoring.rates import logs, mean, rounded
from podium.scoring.student_t import student_t

MIN_EFFICIENCY = 0.8
ERRORS = 0.05  # of curves: those with an interval, after any run, that does not hold the true efficiency

_ENOUGH_FREEDOM = 3  # fewer equal rates may be equal only because they are rounded
_FARTHEST = math.log(1000)  # an interval ends here, so that its ends are numbers that a document can hold


class Scaling(StrEnum):
    """Whether the interval of an efficiency lies above the least that is wanted."""

    ABOVE = "above"
    BELOW = "below"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class ScalingPoint:
    """One node count.

    `rate`: the geometric mean of its `rates` (how many), in samples per second; `ignored`: how many values are not
    rates. `efficiency`: rate / (nodes / base nodes * base rate), a ratio: 1 is linear. Its `interval` is None if no
    count has repeated rates. `repeat`: another run of this count may decide, and there is one left.
    """

    nodes: int
    rate: float | None
    efficiency: float | None
    interval: tuple[float, float] | None
    verdict: Scaling
    rates: int
    ignored: int
    repeat: bool


@dataclass(frozen=True, slots=True)
class ScalingCurve:
    """All node counts, ascending, and the `knee`.

    The knee is the largest count whose efficiency is above `min_efficiency` by its interval, before the first that is
    below; None if there is none. It is `final` if no unsure count can move it. `base`: the smallest count with a rate.
    `noise`: the standard deviation of one rate, a ratio. `answer`: the knee as a phrase.
    """

    points: tuple[ScalingPoint, ...]
    base: int | None
    min_efficiency: float
    noise: float | None
    knee: int | None
    final: bool
    answer: str


def scaling_curve(
    rates: Mapping[int, Sequence[float]],
    *,
    min_efficiency: float = MIN_EFFICIENCY,
    max_runs: int = 4,
    runs_made: Mapping[int, int] | None = None,
) -> ScalingCurve:
    """Return the scaling curve from `rates`: number of nodes -> the rates measured so far, in samples per second.

    `max_runs` and `runs_made`: as in `judge_fleet`. Raises ValueError if a node count or `min_efficiency` is not
    above 0.
    """
    if not 0 < min_efficiency < math.inf:
        raise ValueError(f"min_efficiency: {min_efficiency} is not a ratio above 0")
    if any(nodes < 1 for nodes in rates):
        raise ValueError(f"{min(rates)} nodes: a node count is at least 1")
    made = {nodes: len(values) for nodes, values in rates.items()} | dict(runs_made or {})
    measured = {nodes: logs(rates[nodes]) for nodes in sorted(rates)}
    base = next((nodes for nodes, found in measured.items() if found), None)
    noise, freedom = _noise(list(measured.values()))
    reach = None if noise is None else noise and noise * student_t(freedom, 1 - ERRORS / max_runs / len(rates))
    points = []
    for nodes, found in measured.items():
        efficiency, interval = _efficiency(nodes, found, base, measured, reach)
        verdict = _verdict(interval, min_efficiency)
        points.append(
            ScalingPoint(
                nodes=nodes,
                rate=rounded(math.exp(mean(found))) if found else None,
                efficiency=efficiency,
                interval=interval,
                verdict=verdict,
                rates=len(found),
                ignored=len(rates[nodes]) - len(found),
                repeat=verdict is Scaling.UNSURE and made[nodes] < max_runs,
            )
        )
    if base is not None and made[base] < max_runs and any(point.repeat for point in points):
        points = [replace(point, repeat=point.repeat or point.nodes == base) for point in points]
    knee, final = _knee(points)
    deviation = None if noise is None else rounded(math.expm1(noise))
    answer = _answer(points, knee, final, min_efficiency)
    return ScalingCurve(tuple(points), base, min_efficiency, deviation, knee, final, answer)


def _noise(measured: Sequence[Sequence[float]]) -> tuple[float | None, int]:
    """Return the pooled standard deviation of repeated rates, and its degrees of freedom; None if it is unknown."""
    repeated = [found for found in measured if len(found) > 1]
    freedom = sum(len(found) - 1 for found in repeated)
    vary = any(found[-1] > found[0] for found in repeated)
    if freedom < (1 if vary else _ENOUGH_FREEDOM):
        return None, freedom
    squares = math.fsum((log - mean(found)) ** 2 for found in repeated for log in found) if vary else 0.0
    return math.sqrt(squares / freedom), freedom


def _efficiency(
    nodes: int,
    found: Sequence[float],
    base: int | None,
    measured: Mapping[int, Sequence[float]],
    reach: float | None,
) -> tuple[float | None, tuple[float, float] | None]:
    """Return the efficiency of a node count and its interval; that of the base is 1 by definition."""
    if base is None or not found:
        return None, None
    if nodes == base:
        return 1.0, (1.0, 1.0)
    log = mean(found) - mean(measured[base]) - math.log(nodes / base)
    if reach is None:
        return _ratio(log), None
    half = reach * math.sqrt(1 / len(found) + 1 / len(measured[base]))
    return _ratio(log), (_ratio(log - half), _ratio(log + half))


def _ratio(log: float) -> float:
    return rounded(math.exp(max(-_FARTHEST, min(log, _FARTHEST))))


def _verdict(interval: tuple[float, float] | None, min_efficiency: float) -> Scaling:
    if interval is None or interval[0] < min_efficiency <= interval[1]:
        return Scaling.UNSURE
    return Scaling.BELOW if interval[1] < min_efficiency else Scaling.ABOVE


def _knee(points: Sequence[ScalingPoint]) -> tuple[int | None, bool]:
    """Return the knee, and whether no unsure count can move it."""
    knee, final = None, True
    for point in points:
        if point.verdict is Scaling.BELOW:
            break
        knee, final = (point.nodes, True) if point.verdict is Scaling.ABOVE else (knee, False)
    return knee, final


def _answer(points: Sequence[ScalingPoint], knee: int | None, final: bool, min_efficiency: float) -> str:
    """Return the knee as a sentence, with the count at which the efficiency falls."""
    wanted = f"{100 * min_efficiency:g} %"
    if not any(point.rates for point in points):
        return "no node count has a rate"
    if knee is None:
        return f"not known: no count is surely above {wanted}"
    answer = f"efficiency is above {wanted} up to {_nodes(knee)}"
    below = next((point for point in points if point.verdict is Scaling.BELOW), None)
    end = below.nodes if below else math.inf
    unsure = [str(p.nodes) for p in points if p.verdict is Scaling.UNSURE and knee < p.nodes < end]
    if not final:
        return f"{answer}; unsure at {', '.join(unsure)}"
    if below is None:
        return f"{answer}, the largest count"
    return f"{answer}; at {_nodes(below.nodes)} it is {100 * (below.efficiency or 0):.1f} %"


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
