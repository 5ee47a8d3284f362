"""Draw a comparison: speed-up at equal chip counts, and growth of the largest system."""

from __future__ import annotations

from importlib.resources import files

from podium.report.svg import Drawing, Pair, Scale, text_width, ticks
from podium.submissions.comparison import Comparison, Growth, SpeedUp

_WIDTH = 960.0
_RIGHT = _WIDTH - 190  # leaves room for the numbers beside the bars
_GROWTH_RIGHT = _WIDTH - 250  # leaves room for the numbers beside the systems
_ROW = 26.0
_HEAD = 44.0
_FOOT = 34.0
_LINE = 20.0


def comparison_picture(found: Comparison, before: str, after: str, *, speed_ups: bool, growths: bool) -> str:
    """An SVG document. `before` and `after` name the two sides. In benchmarks marked *, target or clock changed.

    Raises ValueError if nothing is comparable.
    """
    bars = found.speed_ups if speed_ups else ()
    dumbbells = found.growths if growths else ()
    if not bars and not dumbbells:
        raise ValueError("nothing is comparable, so there is nothing to draw")
    marked = {finding.field for finding in found.despite}
    note = "* compared although the target or the clock changed in between" if marked else ""
    told = [f"{_name(pair.benchmark, marked)}: {pair.sentence}" for pair in found.answers if speed_ups]
    heights = [_HEAD + _ROW * len(rows) + _FOOT for rows in (bars, dumbbells) if rows]
    title = f"{after} against {before}"
    drawing = Drawing(_WIDTH, 30 + sum(heights) + _LINE * len(told) + (20 if note else 0), title)
    drawing.rect((0, 0), _WIDTH, drawing.height, "paper")
    drawing.text((16, 24), title, "big")
    top = 30.0
    if bars:
        _speed_ups(drawing, top, bars, marked)
        top += heights[0]
    for sentence in told:
        top += _LINE
        drawing.text((16, top), sentence)
    if dumbbells:
        _growths(drawing, top, dumbbells, marked)
    if note:
        drawing.text((16, drawing.height - 10), note, "muted")
    return f"{drawing.markup(_style_sheet())}\n"


def _style_sheet() -> str:
    return files("podium.report").joinpath("templates/charts.css").read_text(encoding="utf-8")


def _speed_ups(drawing: Drawing, top: float, rows: tuple[SpeedUp, ...], marked: set[str]) -> None:
    names = [_name(s.benchmark, marked) + (f", {s.chips} chips" if s.chips else "") for s in rows]
    x = Scale(0, max(1.0, *(s.factor for s in rows)) * 1.02, _left(names), _RIGHT)
    bottom = top + _HEAD + len(rows) * _ROW
    drawing.text((16, top + 24), "Speed-up at equal chip counts", "strong")
    _axis(drawing, (top, bottom), x, ticks(0, x.high, 6), "times as fast")
    for n, (s, name) in enumerate(zip(rows, names, strict=True)):
        y = top + _HEAD + n * _ROW
        drawing.text((x.start - 10, y + 14), name, "", "end")
        drawing.rect((x.start, y + 3), x(s.factor) - x.start, _ROW - 10, "bar train" if s.factor >= 1 else "bar slower")
        words = f"{s.factor:.2f}x   {s.before.minutes:.2f} to {s.after.minutes:.2f} min"
        drawing.text((x(s.factor) + 8, y + 14), words)
    drawing.line((x(1), top + _HEAD - 4), (x(1), bottom), "target")


def _growths(drawing: Drawing, top: float, rows: tuple[Growth, ...], marked: set[str]) -> None:
    names = [_name(g.benchmark, marked) for g in rows]
    sizes = [float(e.chips or 1) for g in rows for e in (g.before, g.after)]
    x = Scale(min(sizes) / 1.2, max(sizes) * 1.2, _left(names), _GROWTH_RIGHT, log=True)
    powers = [2.0**n for n in range(0, 24, 1 + int(max(sizes) / min(sizes) > 2**9)) if x.low <= 2.0**n <= x.high]
    drawing.text((16, top + 24), "The largest system", "strong")
    _axis(drawing, (top, top + _HEAD + len(rows) * _ROW), x, powers, "chips, by powers of two")
    for n, (g, name) in enumerate(zip(rows, names, strict=True)):
        y = top + _HEAD + n * _ROW + _ROW / 2 - 3
        start, end = x(g.before.chips or 1), x(g.after.chips or 1)
        drawing.text((x.start - 10, y + 4), name, "", "end")
        drawing.line((start, y), (end, y), "score")
        drawing.circle((start, y), 5, "dot left-out")
        drawing.circle((end, y), 6, "dot scored")
        words = f"{g.before.chips} to {g.after.chips} chips ({g.chips_factor:.1f}x), {g.speed_up:.2f}x as fast"
        drawing.text((max(start, end) + 12, y + 4), words)


def _axis(drawing: Drawing, rows: Pair, x: Scale, marks: list[float], title: str) -> None:
    top, bottom = rows
    for mark in marks:
        drawing.line((x(mark), top + _HEAD - 4), (x(mark), bottom), "grid")
        drawing.text((x(mark), bottom + 16), f"{mark:g}", "muted", "middle")
    drawing.line((x.start, bottom), (x.end, bottom), "axis")
    drawing.text((_WIDTH - 16, bottom + 16), title, "muted", "end")


def _left(names: list[str]) -> float:
    return 34 + max(map(text_width, names))


def _name(benchmark: str, marked: set[str]) -> str:
    return f"{benchmark} *" if benchmark in marked else benchmark
