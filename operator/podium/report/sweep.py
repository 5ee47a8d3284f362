"""Gather what the page of a sweep shows from its sweep.json, and compare the verdicts in it with the runs' rates."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pydantic import ValidationError

from podium.api.sweep import BenchmarkSweepSpec, SweepRow, count
from podium.reconcile.sweep_verdicts import Judged, judge, nodes_of
from podium.report.units import percent
from podium.results.sweep import SweepDocument, read_sweep
from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.scoring import JudgedFleet, ScalingCurve, judge_fleet, scaling_curve
from podium.submissions.answers import Answered, Quantity
from podium.text import one_line

_NUMBER = re.compile(r"[-+]?\d{1,16}(\.\d{1,16})?(e[-+]?\d{1,2})?", re.ASCII)
_NODE_COUNT = re.compile(r"[1-9]\d{0,6} nodes?", re.ASCII)
_LEAST, _MOST = 1e-9, 1e15  # of a rate; arithmetic with others may overflow
_ALL_PAIRS = 6  # variants; of more, each is compared with the first only
_NAMED = 3  # rows in a sentence
_LONGEST_NAME = 60  # characters in a sentence
_LONGEST_MESSAGE = 500
_FEW_FINDINGS = 100
_ORDER = {"Failed": 0, "Slow": 1, "Unsure": 2, "Running": 3, "Waiting": 3, "Ok": 4}


@dataclass(frozen=True, slots=True)
class ReportedRow:
    """A row of the table. `rate`: samples per second or trainings per hour. `deviation` and `interval`: ratios."""

    name: str
    nodes: tuple[str, ...]
    runs: tuple[str, ...]
    rate: float | None
    deviation: float | None
    interval: tuple[float, float] | None
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two variants, and whether the second is slower than the first."""

    before: str
    after: str
    sentence: str


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What is known of a sweep: `rows`, and what the `rates` of each give when they are judged again.

    Nodes are in the order of their verdicts, outliers first; node counts and variants as in the spec.
    """

    document: SweepDocument
    sha256: str
    spec: BenchmarkSweepSpec
    rows: tuple[ReportedRow, ...]
    rates: Mapping[str, Sequence[float]]
    fleet: JudgedFleet | None  # over nodes
    curve: ScalingCurve | None  # over node counts
    pairs: tuple[Pair, ...]  # over variants
    findings: tuple[Finding, ...]

    @property
    def unit(self) -> str:
        """The unit of the rates."""
        return "samples/s" if self.spec.template.get("measure") else "trainings/h"

    def having(self, verdict: str) -> list[ReportedRow]:
        """Return the rows with a verdict."""
        return [row for row in self.rows if row.verdict == verdict]

    def json(self) -> dict[str, Any]:
        """Return what ``--json`` prints: sweep.json, and what this module says of it."""
        return {
            **self.document.model_dump(mode="json", by_alias=True, exclude_none=True),
            "sha256": self.sha256,
            "outcome": outcome(self),
            "findings": [finding.document() for finding in self.findings],
        }


def read_sweep_report(content: bytes, where: str) -> SweepReport:
    """Return the facts of a sweep.json that others may have written. Raises ValueError if it cannot be one."""
    document = read_sweep(content, where)
    try:
        spec = BenchmarkSweepSpec.model_validate(document.spec)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["spec", *map(str, first["loc"])])
        raise ValueError(f"{where} is not the result of a sweep: {place}: {first['msg']}") from error
    if not 0 <= float(spec.verdict.tolerance) < 1:
        raise ValueError(f"{where} is not the result of a sweep: spec.verdict.tolerance: it is not a ratio below 1")
    names = Counter(row.name for row in document.rows)
    if again := [name for name, times in names.items() if times > 1]:
        raise ValueError(f"{where} is not the result of a sweep: rows: {len(again)} names are not unique")
    rates, made = _rates(document, spec)
    verdict = spec.verdict
    fleet = curve = None
    if spec.over == "nodes":
        fleet = judge_fleet(
            rates, tolerance=float(verdict.tolerance), min_runs=verdict.min_runs, max_runs=verdict.max_runs,
            runs_made=made,
        )  # fmt: skip
    elif spec.over == "nodeCounts":
        counts = {nodes_of(name): name for name in rates}
        curve = scaling_curve(
            {nodes: rates[name] for nodes, name in counts.items()},
            max_runs=verdict.max_runs,
            runs_made={nodes: made[name] for nodes, name in counts.items()},
        )
    judged = judge(spec, rates, made).rows
    rows = [_row(row) for row in document.rows]
    return SweepReport(
        document=document,
        sha256=hashlib.sha256(content).hexdigest(),
        spec=spec,
        rows=tuple(sorted(rows, key=_outliers_first) if spec.over == "nodes" else rows),
        rates=rates,
        fleet=fleet,
        curve=curve,
        pairs=tuple(_pairs(spec, rates)),
        findings=tuple(_findings(document, judged, where))[:_FEW_FINDINGS],
    )


def _rates(document: SweepDocument, spec: BenchmarkSweepSpec) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return the rates of each row, and how many runs it has had. What is not a rate is left out."""
    rates: dict[str, list[float]] = {
        row.name: [] for row in document.rows if spec.over != "nodeCounts" or _NODE_COUNT.fullmatch(row.name)
    }
    made = dict.fromkeys(rates, 0)
    for run in document.runs:
        if run.row in rates:
            rates[run.row] += [rate for rate in run.rates if _LEAST < rate < _MOST]
            made[run.row] += 1
    return rates, made


def _row(row: SweepRow) -> ReportedRow:
    low, high = (_number(row.interval[0]), _number(row.interval[1])) if len(row.interval) == 2 else (None, None)
    rate = _number(row.rate)
    return ReportedRow(
        name=row.name,
        nodes=row.nodes,
        runs=row.runs,
        rate=rate if rate is not None and _LEAST < rate < _MOST else None,
        deviation=_number(row.deviation),
        interval=None if low is None or high is None else (low, high),
        verdict=row.verdict,
        reason=(row.reason or "")[:_LONGEST_MESSAGE],
    )


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and _NUMBER.fullmatch(text) else None


def _outliers_first(row: ReportedRow) -> tuple[int, bool, float, str]:
    return _ORDER[row.verdict], row.deviation is None, row.deviation or 0.0, row.name


def _pairs(spec: BenchmarkSweepSpec, rates: Mapping[str, Sequence[float]]) -> Iterator[Pair]:
    """Yield the answers on pairs of variants: on all of a few, else on each and the first."""
    names = [variant.name for variant in spec.variants if variant.name in rates]
    pairs = list(combinations(names, 2)) if len(names) <= _ALL_PAIRS else [(names[0], name) for name in names[1:]]
    for before, after in pairs:
        first, second = ({index: 1 / rate for index, rate in enumerate(rates[name])} for name in (before, after))
        asked = Answered(Quantity.RATE, "seconds per sample", first, second, float(spec.verdict.tolerance))
        few = f"undecided: it takes two rates of each ({len(first)} and {len(second)})"
        yield Pair(before, after, asked.sentence if asked.ratio else few)


def _findings(document: SweepDocument, judged: Mapping[str, Judged], where: str) -> Iterator[Finding]:
    """Yield where the rows contradict the rates, or themselves."""
    if document.counts != count(document.rows):
        yield Finding(RuleId.REPORT_SWEEP, where, "its counts are not those of its rows")
    failed = {run.row for run in document.runs if run.failure}
    for row in document.rows:
        given = judged.get(row.name)
        place = f"{where}, row {named(row.name)}"
        if row.verdict in ("Ok", "Slow", "Unsure") and row.name in failed:
            yield Finding(RuleId.REPORT_SWEEP, place, f"it says {row.verdict}, but a run of it failed")
        elif row.verdict in ("Ok", "Slow", "Unsure") and (given is None or given.verdict != row.verdict):
            found = given.verdict if given else "nothing"
            yield Finding(RuleId.REPORT_SWEEP, place, f"it says {row.verdict}, but the rates of its runs give {found}")
        elif given and row.rate != f"{given.rate:.6g}":
            said = "no rate" if row.rate is None else f"the rate {row.rate}"
            message = f"it says {said}, but its runs have {given.rate:.6g}"
            yield Finding(RuleId.REPORT_SWEEP, place, message)


# ---- sentences ----


def outcome(report: SweepReport) -> str:
    """Return the outcome of a sweep in one sentence, such as ``2 of 64 nodes are slow``."""
    failed = len(report.having("Failed"))
    if report.curve:
        return report.curve.answer[:1].upper() + report.curve.answer[1:]
    if len(report.pairs) == 1 and not failed:
        pair = report.pairs[0]
        return f"{named(pair.after)}, compared with {named(pair.before)}: {pair.sentence}"
    total, what = len(report.rows), rows_text(report)
    slow, ok = len(report.having("Slow")), len(report.having("Ok"))
    if slow:
        found = f"{slow} of {total} {what} {_is(slow)} slow" + (f"; {failed} failed" if failed else "")
    elif failed:
        found = f"{failed} of {total} {what} failed" + ("; none of the others is slow" if failed < total else "")
    elif not ok:
        found = "Not known: no row is surely fast or slow"
    elif ok < total:
        found = f"None of {total} {what} is surely slow; {total - ok} {_is(total - ok)} unsure"
    else:
        found = f"All {total} {what} are OK: none is {_worse(report)}"
    return found


def details(report: SweepReport) -> list[str]:
    """Return sentences that name the outliers."""
    said = {"Slow": "Slow", "Failed": "Failed", "Unsure": "Unsure"}
    found = []
    for verdict, word in said.items():
        if rows := report.having(verdict):
            names = [named(row.name) + _how_slow(row, report) for row in rows[:_NAMED]]
            more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
            found.append(f"{word}: {', '.join(names)}{more}.")
    split = report.fleet.split if report.fleet else None
    if split and set(split.slow) != {row.name for row in report.having("Slow")}:
        size, rest = len(split.slow), len(split.fast)
        slower = f"{size} {_is(size)} {percent(-split.deviation)} slower than the other {rest}"
        found.append(f"The fleet is split in two: {slower}.")
    return found


def _worse(report: SweepReport) -> str:
    if report.spec.over == "variants":
        return f"slower than {named(report.spec.variants[0].name)}"
    return f"more than {percent(float(report.spec.verdict.tolerance))} slower than its peers"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _how_slow(row: ReportedRow, report: SweepReport) -> str:
    if row.verdict != "Slow" or row.deviation is None:
        return ""
    if report.curve:
        return f" (efficiency {percent(1 + row.deviation)})"
    return f" ({percent(abs(row.deviation))} {'slower' if row.deviation < 0 else 'faster'})"


def rows_text(report: SweepReport) -> str:
    """Return what the rows are, such as ``nodes``."""
    if report.curve:
        return "node counts"
    if report.spec.over == "variants":
        return "variants"
    size = report.spec.nodes.group_size if report.spec.nodes else 1
    return "nodes" if size == 1 else f"groups of {size} nodes"


def named(name: str, longest: int = _LONGEST_NAME) -> str:
    """Return a name as one line that is not too long."""
    text = one_line(name)
    return text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"
