"""Draw the pictures of a sweep: rates of a fleet, efficiency over node counts, variants beside the first one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from markupsafe import Markup

from podium.report.svg import Drawing, Scale, nice_step, text_width, ticks
from podium.report.sweep import ReportedRow, SweepReport, named
from podium.report.units import percent
from podium.scoring import Scaling, ScalingCurve, ScalingPoint

_WIDE = 960.0
_BINS = 40
_STYLES = {"Slow": "slow", "Unsure": "unsure", "Failed": "failed"}
_LAYERS = ("ok", "unsure", "failed", "slow")  # from the axis upwards
_MANY = 24  # node counts or variants; with more, they have no labels or are left out
_FARTHEST = 10.0  # times the base: farther efficiencies and deviations are drawn at the edge


def rates_chart(report: SweepReport) -> Markup | None:
    """A histogram of the rows' rates, with the reference of the fleet and the tolerance; None without two rates."""
    rated = [(row.rate, row) for row in report.rows if row.rate is not None]
    if len(rated) < 2 or report.fleet is None:
        return None
    bottom = 210.0
    drawing = Drawing(_WIDE, bottom + 46, f"histogram of the rates of {len(rated)} rows")
    reference = report.fleet.reference
    edge = reference * (1 - float(report.spec.verdict.tolerance)) if reference else None
    marks = [value for value in (reference, edge) if value]
    values = [rate for rate, _ in rated]
    low, high = min(values + marks), max(values + marks)
    width = nice_step(max(high - low, high * 1e-4) / _BINS)
    columns: dict[int, list[str]] = defaultdict(list)
    for rate, row in rated:
        columns[math.floor(rate / width + 1e-9)].append(_STYLES.get(row.verdict, "ok"))
    x = Scale(math.floor(low / width) - 1, math.floor(high / width) + 2, 44, _WIDE - 26)
    tallest = max(map(len, columns.values()))
    y = Scale(0, max(tallest, 4), bottom, 44)
    for mark in ticks(0, y.high, 4):
        if mark == int(mark):
            drawing.line((x.start, y(mark)), (x.end, y(mark)), "grid")
            drawing.text((x.start - 8, y(mark) + 4), f"{mark:,g}", "muted", "end")
    for column, found in sorted(columns.items()):
        _column(drawing, x(column), x(column + 1), found, y)
    drawing.line((x.start, bottom), (x.end, bottom), "axis")
    for value in ticks(x.low * width, x.high * width, 8):
        drawing.line((x(value / width), bottom), (x(value / width), bottom + 4), "axis")
        drawing.text((x(value / width), bottom + 18), f"{value:,g}", "muted", "middle")
    drawing.text((x.end, bottom + 36), report.unit, "muted", "end")
    if reference and edge:
        _reference(drawing, x(reference / width), x(edge / width), report, bottom)
    return drawing.markup()


def _column(drawing: Drawing, left: float, right: float, found: Sequence[str], y: Scale) -> None:
    level = 0
    for style in _LAYERS:
        if number := found.count(style):
            top = y(level + number)
            drawing.rect((left + 0.5, top), max(1.0, right - left - 1), y(level) - top, f"bin {style}")
            level += number


def _reference(drawing: Drawing, at: float, edge: float, report: SweepReport, bottom: float) -> None:
    """The line of the reference, and the one of the tolerance, with their labels above the bars."""
    fleet = report.fleet
    is_median = fleet is not None and fleet.reference == fleet.median
    words = "median" if is_median else "reference: median of the faster half"
    drawing.line((at, 20), (at, bottom), "score")
    room = _WIDE - at > text_width(words) + 12
    drawing.text((at + 6 if room else at - 6, 16), words, "strong", "start" if room else "end")
    drawing.line((edge, 36), (edge, bottom), "target")
    slower = f"{percent(float(report.spec.verdict.tolerance))} slower"
    room = edge > text_width(slower) + 12
    drawing.text((edge - 6 if room else edge + 6, 32), slower, "muted", "end" if room else "start")


def scaling_chart(curve: ScalingCurve) -> Markup | None:
    """The efficiency over the number of nodes, with intervals, the efficiency that is wanted, and the knee."""
    points = [(point, point.efficiency) for point in curve.points if point.efficiency is not None]
    if len(points) < 2:
        return None
    bottom = 260.0
    drawing = Drawing(_WIDE, bottom + 46, f"efficiency at {len(points)} node counts")
    tops = [end for point, efficiency in points for end in (efficiency, *(point.interval or ()))]
    x = Scale(points[0][0].nodes, points[-1][0].nodes, 76, _WIDE - 60, log=True)
    y = Scale(0, min(_FARTHEST, max(1.1, *tops)), bottom, 30)
    for mark in ticks(0, y.high, 5):
        drawing.line((x.start - 20, y(mark)), (x.end + 20, y(mark)), "grid")
        drawing.text((x.start - 28, y(mark) + 4), f"{100 * mark:g} %", "muted", "end")
    least = curve.min_efficiency
    drawing.line((x.start - 20, y(least)), (x.end + 20, y(least)), "target")
    drawing.text((x.start - 16, y(least) + 15), f"{percent(least)} wanted", "muted")
    drawing.path([(x(point.nodes), y(min(efficiency, y.high))) for point, efficiency in points], "curve scored")
    last = -math.inf
    for point, efficiency in points:
        _point(drawing, point, min(efficiency, y.high), x, y)
        if x(point.nodes) - last > text_width(f"{point.nodes:,}") + 6:
            last = x(point.nodes)
            drawing.text((last, bottom + 18), f"{point.nodes:,}", "muted", "middle")
            if len(points) <= _MANY:
                top = min(efficiency, *(point.interval or (efficiency,))), max(efficiency, *(point.interval or (0,)))
                drawing.text((last, y(min(top[1], y.high)) - 8), percent(efficiency), "strong", "middle")
    if curve.knee is not None:
        words = "knee" if curve.final else "knee so far"
        drawing.line((x(curve.knee), 30), (x(curve.knee), bottom), "score faint")
        drawing.text((x(curve.knee), 18), words, "strong", "middle")
    drawing.line((x.start - 20, bottom), (x.end + 20, bottom), "axis")
    drawing.text((x.end + 20, bottom + 36), "nodes", "muted", "end")
    return drawing.markup()


def _point(drawing: Drawing, point: ScalingPoint, efficiency: float, x: Scale, y: Scale) -> None:
    style = {Scaling.ABOVE: "scored", Scaling.BELOW: "slow"}.get(point.verdict, "left-out")
    if point.interval:
        low, high = (y(min(max(end, 0.0), y.high)) for end in point.interval)
        drawing.line((x(point.nodes), low), (x(point.nodes), high), "whisker")
    drawing.circle((x(point.nodes), y(efficiency)), 5, f"dot {style}")


def variants_chart(report: SweepReport) -> Markup | None:
    """How much faster or slower each variant is than the first one, with its interval; None without two of them."""
    by_name = {row.name: row for row in report.rows if row.deviation is not None}
    rows = [by_name[one.name] for one in report.spec.variants if one.name in by_name][:_MANY]
    if len(rows) < 2:
        return None
    names = [named(row.name, 28) for row in rows]
    bottom = 30.0 + 30 * len(rows)
    drawing = Drawing(_WIDE, bottom + 46, f"rates of {len(rows)} variants, compared with the first")
    tolerance = float(report.spec.verdict.tolerance)
    ends = [_within(end) for row in rows for end in (row.deviation or 0.0, *(row.interval or ()))]
    far = max(tolerance * 1.5, *map(abs, ends)) * 1.05
    x = Scale(-far, far, 40 + max(map(text_width, names)), _WIDE - 90)
    drawing.rect((x(-tolerance), 14), x(tolerance) - x(-tolerance), bottom - 14, "band")
    for mark in ticks(-far, far, 7):
        drawing.line((x(mark), 14), (x(mark), bottom), "grid")
        drawing.text((x(mark), bottom + 18), f"{100 * mark:+g} %" if mark else "0", "muted", "middle")
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        _variant(drawing, row, name, 30.0 + 30 * number, x)
    drawing.line((x(0), 14), (x(0), bottom), "score")
    drawing.text(
        (_WIDE - 16, bottom + 36), "rate compared with the first; shaded: within the tolerance", "muted", "end"
    )
    return drawing.markup()


def _variant(drawing: Drawing, row: ReportedRow, name: str, y: float, x: Scale) -> None:
    deviation = _within(row.deviation or 0.0)
    drawing.text((x.start - 14, y + 4), name, "strong", "end")
    if row.interval:
        low, high = sorted(map(_within, row.interval))
        drawing.line((x(low), y), (x(high), y), "whisker")
    drawing.circle((x(deviation), y), 5, f"dot {_STYLES.get(row.verdict, 'scored')}")
    drawing.text((x.end + 12, y + 4), f"{100 * deviation:+.1f} %" if deviation else "the first", "muted")


def _within(deviation: float) -> float:
    return max(-_FARTHEST, min(deviation, _FARTHEST))
