"""What the rates of a sweep's rows say about each row, and about all of them together. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from podium.api.sweep import BenchmarkSweepSpec
from podium.scoring import Answer, Ratio, answer, estimate, more_runs
from podium.scoring.fleet import RowVerdict, judge_fleet
from podium.scoring.scaling_curve import Scaling, scaling_curve

Rates = Mapping[str, Sequence[float]]
Made = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of one row. `deviation` and `interval` are ratios: -0.05 is 5 % slower. `repeat`: another run may
    decide."""

    verdict: Literal["Ok", "Slow", "Unsure"]
    rate: float
    deviation: float | None
    interval: tuple[float, float] | None
    repeat: bool
    text: str


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is known of all rows that have a rate, and a sentence about them together, if there is one."""

    rows: Mapping[str, Judged]
    together: str = ""


def judge(spec: BenchmarkSweepSpec, rates: Rates, made: Made) -> Verdicts:
    """Return the verdicts on the `rates` of each row, by its name; `made` is how many runs a row has had."""
    if spec.over == "nodes":
        return _fleet(spec, rates, made)
    return _curve(spec, rates, made) if spec.over == "nodeCounts" else _variants(spec, rates, made)


def nodes_of(row: str) -> int:
    """Return the node count that a row is named after."""
    return int(row.partition(" ")[0])


def _fleet(spec: BenchmarkSweepSpec, rates: Rates, made: Made) -> Verdicts:
    verdict = spec.verdict
    fleet = judge_fleet(
        rates,
        tolerance=float(verdict.tolerance),
        min_runs=verdict.min_runs,
        max_runs=verdict.max_runs,
        runs_made=made,
    )
    words: dict[RowVerdict, Literal["Ok", "Slow", "Unsure"]] = {RowVerdict.OK: "Ok", RowVerdict.SLOW: "Slow"}
    return Verdicts(
        {
            row.name: Judged(
                words.get(row.verdict, "Unsure"), row.rate, row.deviation, row.interval, row.repeat, row.reason
            )
            for row in fleet.rows
            if row.rate is not None
        }
    )


def _curve(spec: BenchmarkSweepSpec, rates: Rates, made: Made) -> Verdicts:
    """The deviation of a node count is its efficiency, less 1: its rate compared with that of the smallest count."""
    counts = {nodes_of(name): name for name in rates}
    curve = scaling_curve(
        {nodes: rates[name] for nodes, name in counts.items()},
        max_runs=spec.verdict.max_runs,
        runs_made={nodes: made[name] for nodes, name in counts.items()},
    )
    words: dict[Scaling, Literal["Ok", "Slow", "Unsure"]] = {Scaling.ABOVE: "Ok", Scaling.BELOW: "Slow"}
    rows = {}
    for point in curve.points:
        if point.rate is not None and point.efficiency is not None:
            interval = None if point.interval is None else (point.interval[0] - 1, point.interval[1] - 1)
            said, word = f"efficiency {point.efficiency:.1%}", words.get(point.verdict, "Unsure")
            rows[counts[point.nodes]] = Judged(word, point.rate, point.efficiency - 1, interval, point.repeat, said)
    return Verdicts(rows, curve.answer)


def _variants(spec: BenchmarkSweepSpec, rates: Rates, made: Made) -> Verdicts:
    """Each variant is compared with the first one."""
    first, tolerance = spec.variants[0].name, float(spec.verdict.tolerance)
    base = estimate([1 / rate for rate in rates.get(first, ())])
    rows = {}
    for name, values in rates.items():
        if not values:
            continue
        rate, repeat = statistics.geometric_mean(values), made[name] < spec.verdict.max_runs
        own = estimate([1 / value for value in values])
        if base is None or own is None:
            rows[name] = Judged("Unsure", rate, None, None, repeat, "an interval takes at least two rates")
        elif name == first:
            rows[name] = Judged("Ok", rate, 0.0, (0.0, 0.0), repeat=False, text="the others are compared with it")
        else:
            rows[name] = _variant(rate, Ratio(base, own), first, tolerance, repeat=repeat)
    return Verdicts(rows)


def _variant(rate: float, found: Ratio, first: str, tolerance: float, *, repeat: bool) -> Judged:
    """Return the verdict on a variant from the ratio of its seconds per sample to those of the first one."""
    said, low_high = answer(found, tolerance), (1 / found.interval.high - 1, 1 / found.interval.low - 1)
    text = {Answer.SAME: f"no difference from {first} larger than {found.largest:.1%}"}.get(
        said, f"{said} than {first}"
    )
    if said is Answer.UNDECIDED:
        more = more_runs(found, tolerance)
        text = f"undecided; about {more} more attempts each" if more else "undecided"
    verdict: Literal["Ok", "Slow", "Unsure"] = "Slow" if said is Answer.SLOWER else "Ok"
    if said is Answer.UNDECIDED:
        verdict = "Unsure"
    return Judged(verdict, rate, 1 / found.value - 1, low_high, repeat and verdict == "Unsure", text)
