"""Draw the pictures of a report. Each function takes facts and returns an SVG element."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from podium.api import AttemptState
from podium.report.facts import Attempt, Report
from podium.report.svg import Drawing, Pair, Scale, nice_step, spread_out, text_width, thinned, ticks
from podium.report.units import Unit, brief, percent

WIDE, HALF = 960.0, 468.0
_LABELED = 8  # attempts; with more, only the fastest, the median and the slowest have labels
_POINTS = 6000  # of all curves in a picture
_CELL = 22.0
_MANY = 20  # attempts; with more, marks are small and have no number
_ROWS = 24  # bars in the time breakdown


def quality_chart(report: Report, metric: str, unit: Unit) -> Markup:
    """The metric over the time on the clock, with one curve per attempt, and the target."""
    curves = {a.index: [(p.seconds, p.quality[metric]) for p in a.curve if metric in p.quality]
              for a in report.attempts}  # fmt: skip
    shown = [a for a in report.attempts if curves[a.index]]
    drawing = Drawing(WIDE, 380, f"{metric} over time to train, {len(shown)} attempts")
    if not shown:
        return drawing.markup()
    target = report.entry.target.get(metric)
    values = [y for a in shown for _, y in curves[a.index]]
    low, high = min(values), max([*values, *([target] if target is not None else [])])
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    longest = max([x for a in shown for x, _ in curves[a.index]] + [a.seconds or 0.0 for a in shown])
    x = Scale(0, longest or 1.0, 56, WIDE - 150)
    y = Scale(0 if 0 <= low <= room else low - room, high + room, 340, 16)
    _axes(drawing, x, y, unit, _clock(report, unit))
    if target is not None:
        drawing.line((x.start, y(target)), (x.end, y(target)), "target")
        drawing.text((x.start + 6, y(target) - 6), f"target {target:g}", "strong")
    each = max(12, _POINTS // len(shown))
    for a in sorted(shown, key=lambda a: a.scored):  # draws scored ones on top
        points = thinned([(x(s), y(q)) for s, q in curves[a.index]], each)
        drawing.path(points, f"curve {_kind(a)}" + (" many" if len(shown) > _MANY else ""))
        _end_mark(drawing, points[-1], a)
    _end_labels(drawing, {a.index: (x(curves[a.index][-1][0]), y(curves[a.index][-1][1])) for a in shown}, shown, unit)
    return drawing.markup()


def _clock(report: Report, unit: Unit) -> str:
    offline = report.entry.rules.timed_by == "eval_result"
    return f"{unit.plural} after run_start; evaluated off the clock" if offline else f"{unit.plural} on the clock"


def _axes(drawing: Drawing, x: Scale, y: Scale, unit: Unit, title: str) -> None:
    for value in ticks(y.low, y.high, 5):
        drawing.line((x.start, y(value)), (x.end, y(value)), "grid")
        drawing.text((x.start - 8, y(value) + 4), f"{value:g}", "muted", "end")
    _time_axis(drawing, x, y.start, unit, title)


def _time_axis(drawing: Drawing, x: Scale, bottom: float, unit: Unit, title: str) -> None:
    drawing.line((x.start, bottom), (x.end, bottom), "axis")
    marks = [mark * unit.seconds for mark in ticks(x.low / unit.seconds, x.high / unit.seconds, 7)]
    for mark in marks:
        drawing.line((x(mark), bottom), (x(mark), bottom + 4), "axis")
        drawing.text((x(mark), bottom + 18), f"{mark / unit.seconds:,g}", "muted", "middle")
    drawing.text((x.end, bottom + 35), title, "muted", "end")


def _kind(a: Attempt) -> str:
    if a.scored:
        return "scored"
    return "left-out" if a.state == AttemptState.CONVERGED else "failed"


def _end_mark(drawing: Drawing, at: Pair, a: Attempt) -> None:
    if _kind(a) == "failed":
        drawing.cross(at, 4, "cross")
    else:
        drawing.circle(at, 3.5, f"dot {_kind(a)}")


def _end_labels(drawing: Drawing, ends: dict[int, Pair], shown: Sequence[Attempt], unit: Unit) -> None:
    """Draw a column of labels on the right, the slowest on top, each with a line to the end of its curve."""
    labeled = sorted(_labeled(shown), key=lambda a: -ends[a.index][0])
    column = WIDE - 132
    heights = spread_out([ends[a.index][1] for a in labeled], 17, 14, 336)
    for a, height in zip(labeled, heights, strict=True):
        at = ends[a.index]
        drawing.path([(at[0] + 6, at[1]), (column - 12, height), (column - 4, height)], "leader")
        text = f"no. {a.index}" + (f"  {unit.text(a.seconds)} {unit.name}" if a.seconds is not None else "")
        drawing.text((column, height + 4), text, "strong" if a.scored else "muted")


def _labeled(shown: Sequence[Attempt]) -> list[Attempt]:
    if len(shown) <= _LABELED:
        return list(shown)
    timed = sorted((a for a in shown if a.seconds is not None), key=lambda a: a.seconds or 0)
    return list({a.index: a for a in (timed[0], timed[len(timed) // 2], timed[-1])}.values()) if timed else []


# ---- distributions ----


def epochs_chart(report: Report) -> Markup:
    """A histogram of the epochs to the target, with one cell per attempt; dropped attempts are hollow."""
    runs = [(a.epochs, a) for a in report.attempts if a.epochs is not None and a.state == AttemptState.CONVERGED]
    spread = report.spread.epochs
    bottom = _bottom(report)
    drawing = Drawing(HALF, bottom + 46, "distribution of the epochs to the target")
    if not runs or spread is None:
        return drawing.markup()
    values = [epochs for epochs, _ in runs]
    width = _bin_width(values)
    columns: dict[int, list[Attempt]] = defaultdict(list)
    for epochs, a in sorted(runs, key=lambda run: (not run[1].scored, run[1].index)):
        columns[math.floor(epochs / width + 1e-9)].append(a)
    first, last = min(columns), max(columns)
    pad = max(1, math.ceil((7 - (last - first + 1)) / 2))
    x = Scale(first - pad, last + pad + 1, 8, HALF - 8)
    _cells(drawing, columns, x, bottom)
    drawing.line((x.start, bottom), (x.end, bottom), "axis")
    every = max(1, math.ceil((last - first + 2 * pad) / 12))
    for column in range(first - pad, last + pad + 1):
        if (column - first) % every == 0 and column >= 0:
            middle = x(column + 0.5) if width == 1 else x(column)
            drawing.text((middle, bottom + 17), f"{column * width:g}", "muted", "middle")
    drawing.text(
        (x.end, bottom + 34), "epochs to the target" + ("" if width == 1 else f", {width:g} per column"), "muted", "end"
    )
    return drawing.markup()


def _bottom(report: Report) -> float:
    """The y position of the axes of both distributions."""
    return 160.0 if len(report.attempts) <= _MANY else 204.0


def _cells(drawing: Drawing, columns: dict[int, list[Attempt]], x: Scale, bottom: float) -> None:
    tallest = max(map(len, columns.values()))
    wide = min(44.0, (x(1) - x(0)) - 3)
    high = min(_CELL, (bottom - 24) / tallest)
    for column, members in columns.items():
        left = x(column + 0.5) - wide / 2
        for level, a in enumerate(members):
            top = bottom - (level + 1) * high
            drawing.rect((left + 0.5, top + 1), wide - 1, high - 1.5, f"cell {_kind(a)}", 2 if high > 8 else 0)
            if high > 15 and wide > 18:
                drawing.text((left + wide / 2, top + high / 2 + 4.5), a.index, f"in {_kind(a)}", "middle")
        if high <= 15 or wide <= 18:
            drawing.text((left + wide / 2, bottom - len(members) * high - 6), len(members), "strong", "middle")


def _bin_width(values: Sequence[float]) -> float:
    """The epochs per column: one if that fits, else a round number."""
    span = max(values) - min(values)
    if all(value == int(value) for value in values) and span <= 18:
        return 1
    return nice_step(max(span, abs(max(values)) * 1e-3, 1e-9) / 12)


def times_chart(report: Report, unit: Unit) -> Markup:
    """The times of all attempts on one axis, with the score and its confidence interval."""
    timed = [a for a in report.attempts if a.seconds is not None and a.state == AttemptState.CONVERGED]
    bottom = _bottom(report)
    drawing = Drawing(HALF, bottom + 46, "distribution of the time to train")
    if not timed:
        return drawing.markup()
    spread, factor = report.spread, 60 / report.entry.scaling
    near = spread.interval
    edges = [near.low * factor, near.high * factor] if near else []
    values = [a.seconds or 0.0 for a in timed] + edges
    room = (max(values) - min(values)) * 0.06 or max(values) * 0.02 or 1.0
    x = Scale(max(0.0, min(values) - room), max(values) + room, 24, HALF - 24)
    score = report.entry.score.seconds
    if spread.estimate:
        left, right = (min(max(x(edge), x.start), x.end) for edge in edges)
        drawing.rect((left, 44), right - left, bottom - 44, "band")
        words = f"95 % within ±{percent(spread.estimate.relative)}"
        drawing.text((_within((left + right) / 2, words), 36), words, "muted", "middle")
    if score is not None:
        drawing.line((x(score), 44), (x(score), bottom), "score")
        words = f"score {unit.text(score)} {unit.name}"
        drawing.text((_within(x(score), words), 18), words, "strong", "middle")
    _swarm(drawing, timed, x, bottom)
    _time_axis(drawing, x, bottom, unit, f"{unit.plural} to the target")
    return drawing.markup()


def _within(middle: float, words: str) -> float:
    half = text_width(words) / 2
    return min(max(middle, half + 2), HALF - half - 2)


def _swarm(drawing: Drawing, timed: Sequence[Attempt], x: Scale, bottom: float) -> None:
    """Draw dots, stacked where they would overlap."""
    few = len(timed) <= _MANY
    radius = 9.0 if few else 4.0
    grid = 1.0 if few else 2 * radius + 1  # many dots are aligned in columns
    levels: list[float] = []  # the last x on each level
    rows: list[tuple[float, int, Attempt]] = []
    for a in sorted(timed, key=lambda a: a.seconds or 0):
        at = round(x(a.seconds or 0) / grid) * grid
        level = next((n for n, last in enumerate(levels) if at - last >= 2 * radius + 1), len(levels))
        levels[level : level + 1] = [at]
        rows.append((at, level, a))
    step = min(2 * radius + 1, (bottom - 56 - radius) / max(1, len(levels)))
    for at, level, a in rows:
        height = bottom - radius - 5 - level * step
        drawing.circle((at, height), radius, f"dot {_kind(a)}")
        if few:
            drawing.text((at, height + 4), a.index, f"in {_kind(a)}", "middle")


# ---- where the time goes ----


def breakdown_chart(report: Report, unit: Unit) -> Markup:
    """One bar per attempt: initialization left of the clock's zero, then training, then evaluation."""
    timed = [a for a in report.attempts if a.seconds is not None]
    chosen = timed if len(timed) <= _ROWS else sorted(_labeled(timed), key=lambda a: a.seconds or 0)
    bottom = 18.0 + 20 * len(chosen)
    drawing = Drawing(WIDE, bottom + 40, "initialization, training and evaluation of each attempt")
    if not chosen:
        return drawing.markup()
    before = max((a.init_seconds or 0.0 for a in chosen), default=0.0)
    longest = max(a.seconds or 0.0 for a in chosen) or 1.0
    x = Scale(-min(before, 1.5 * longest), longest, 56, WIDE - 84)
    for row, a in enumerate(chosen):
        top, seconds, evaluating = 14 + 20.0 * row, a.seconds or 0.0, a.eval_seconds or 0.0
        training = seconds - evaluating
        faded = "" if a.scored else " faded"
        drawing.text((x.start - 8, top + 11), a.index, "strong" if a.scored else "muted", "end")
        if a.init_seconds:
            left = max(x.start, x(-a.init_seconds))
            drawing.rect((left, top), x(0) - left, 14, f"bar init{faded}")
            if x(0) - left > 64:
                drawing.text((left + 6, top + 11), brief(a.init_seconds), "muted")
        drawing.rect((x(0), top), x(training) - x(0), 14, f"bar train{faded}")
        drawing.rect((x(training) + 1, top), x(seconds) - x(training) - 1, 14, f"bar eval{faded}")
        text = f"{unit.text(seconds)} {unit.name}"
        drawing.text((x(seconds) + 6, top + 11), text, "strong" if a.scored else "muted")
    drawing.line((x(0), 6), (x(0), bottom), "axis")
    _time_axis(drawing, x, bottom, unit, f"{unit.plural} on the clock, which starts at 0")
    return drawing.markup()


def time_parts(attempts: Iterable[Attempt], unit: Unit) -> list[tuple[str, str, str]]:
    """The parts of the scored attempts' time, each as (style, name, mean time)."""
    scored = [a for a in attempts if a.scored and a.seconds]
    inits = [a.init_seconds for a in scored if a.init_seconds is not None]
    evals = [a.eval_seconds for a in scored if a.eval_seconds is not None]
    if not scored:
        return []
    whole = sum(a.seconds or 0 for a in scored) / len(scored)
    rows = []
    if inits:
        rows.append(("init", "initialization, before the clock", brief(sum(inits) / len(inits))))
    if len(evals) < len(scored):
        return [*rows, ("train", "training and evaluation", f"{unit.text(whole)} {unit.name}")]
    evaluating = sum(evals) / len(evals)
    for style, name, took in (("train", "training", whole - evaluating), ("eval", "evaluation", evaluating)):
        rows.append((style, name, f"{unit.text(took)} {unit.name}, {percent(took / whole)}"))
    return rows
