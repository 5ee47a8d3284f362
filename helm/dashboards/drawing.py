"""Draws a panel from its JSON and its series, as HTML; a pure function of both.

It knows the settings that our dashboards use. Any other setting is a ValueError, so that no picture leaves one out.
"""

from __future__ import annotations

import html
import itertools
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COLORS = {
    "green": "#73bf69", "yellow": "#fade2a", "blue": "#5794f2", "orange": "#ff9830", "red": "#f2495c",
    "purple": "#b877d9", "gray": "#8e8e8e", "dark-red": "#c4162a", "text": "#b0b3b8", "transparent": "transparent",
}  # fmt: skip
PALETTE = ("#73bf69", "#fade2a", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffb357")
# (from which value on, suffix) of each of Grafana's units, the largest first; a value is shown divided by the first
UNITS: Mapping[str, Sequence[tuple[float, str]]] = {
    "none": ((1, ""),),
    "percent": ((1, "%"),),
    "percentunit": ((0.01, "%"),),
    "s": ((86400, " days"), (3600, " hours"), (60, " mins"), (1, " s"), (1e-3, " ms")),
    "bytes": ((2**40, " TiB"), (2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B")),
    "joule": ((1e9, " GJ"), (1e6, " MJ"), (1e3, " kJ"), (1, " J")),
    "watt": ((1e6, " MW"), (1e3, " kW"), (1, " W")),
    "ops": ((1, " ops/s"),),
    "reqps": ((1, " req/s"),),
}
_DEFAULTS = {"color", "custom", "decimals", "min", "noValue", "thresholds", "unit"}
_CUSTOM = {"axisSoftMin", "fillOpacity", "lineWidth", "showPoints", "stacking", "thresholdsStyle"}
_OVERRIDES = {"color", "custom.lineStyle", "links", "unit"}
_ABSENT = '<div class="big"><small>No data</small></div>'

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its legend, its labels, and (unix seconds, value)."""

    name: str
    points: Points
    labels: Mapping[str, str] = field(default_factory=dict)
    letter: str = "A"  # of its query


def draw(panel: Mapping[str, Any], series: Sequence[Series], window: tuple[float, float], size: tuple[int, int]) -> str:
    """The inside of a panel of `size` pixels for a `window` of time in unix seconds. Raises ValueError."""
    check_settings(panel)
    if panel["type"] == "stat":
        return _numbers(panel, series)
    if not series:
        return _ABSENT
    if panel["type"] == "table":
        return _table(panel, series)
    if panel["type"] == "bargauge":
        return _bars(panel, series, size[0])
    return _graph(panel, series, window, size) + _legend(panel, series)


def check_settings(panel: Mapping[str, Any]) -> None:
    """Raise ValueError for a setting that is not drawn."""
    config = panel["fieldConfig"]
    defaults = config["defaults"]
    unknown = [
        *(defaults.keys() - _DEFAULTS),
        *(f"custom.{name}" for name in defaults.get("custom", {}).keys() - _CUSTOM),
    ]
    unknown += ["color"] if panel["type"] == "timeseries" and "color" in defaults else []
    unknown += [
        entry["id"] for each in config["overrides"] for entry in each["properties"] if entry["id"] not in _OVERRIDES
    ]
    if unknown:
        raise ValueError(f"panel {panel['title']!r}: cannot draw {', '.join(sorted(unknown))}; add it to drawing.py")


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """A number with its unit, with `decimals` or three digits. Raises ValueError for an unknown unit."""
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r} is not known; add it to drawing.py")
    size, suffix = next((entry for entry in UNITS[unit] if abs(value or 1) >= entry[0]), UNITS[unit][-1])
    scaled = value / size
    text = (
        f"{scaled:.{decimals}f}" if decimals is not None else f"{scaled:.0f}" if abs(scaled) >= 100 else f"{scaled:.3g}"
    )
    return text + suffix


def level(panel: Mapping[str, Any], value: float) -> str:
    """The color that the panel's thresholds give a value."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached = [step["color"] for step in steps if step["value"] is None or step["value"] <= value]
    return COLORS[reached[-1]]


def _shown(panel: Mapping[str, Any], value: float, name: str = "") -> str:
    defaults = panel["fieldConfig"]["defaults"]
    unit = _override(panel, name, "unit") or defaults.get("unit", "none")
    return shown(value, unit, defaults.get("decimals"))


def _override(panel: Mapping[str, Any], name: str, wanted: str) -> Any:
    """The last override of a setting for a series or column; None without one."""
    found = None
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        fits = re.fullmatch(matcher["options"], name) if matcher["id"] == "byRegexp" else name == matcher["options"]
        for entry in override["properties"] if fits else ():
            found = entry["value"] if entry["id"] == wanted else found
    return found


def _color(panel: Mapping[str, Any], series: Sequence[Series], one: Series) -> str:
    fixed = _override(panel, one.name, "color")
    return COLORS[fixed["fixedColor"]] if fixed else PALETTE[series.index(one) % len(PALETTE)]


def _numbers(panel: Mapping[str, Any], series: Sequence[Series]) -> str:
    mode = panel["options"]["textMode"]
    texts = []
    for one in series:
        value = one.points[-1][1]
        name, text = html.escape(one.name), _shown(panel, value, one.name)
        if panel["options"]["colorMode"] == "value":
            text = f'<span style="color:{level(panel, value)}">{text}</span>'
        named = mode == "value_and_name" or (mode == "auto" and len(series) > 1)
        texts.append(name if mode == "name" else f"<small>{name}</small> {text}" if named else text)
    absent = html.escape(panel["fieldConfig"]["defaults"].get("noValue", "No data"))
    return f'<div class="big">{" &nbsp; ".join(texts) or absent}</div>'


def _table(panel: Mapping[str, Any], series: Sequence[Series]) -> str:
    """The queries' rows side by side, by namespace and run, in the order and with the headings of the panel."""
    organized = panel["transformations"][-1]["options"]
    names = sorted(organized["indexByName"], key=organized["indexByName"].get)
    headings = [organized["renameByName"][name] for name in names]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in series:
        value = f"Value #{one.letter}"
        row = rows.setdefault((one.labels["namespace"], one.labels["run"]), {})
        row |= {**one.labels, value: _shown(panel, one.points[-1][1], organized["renameByName"].get(value, ""))}
    lines = ["".join(f"<th>{html.escape(heading)}</th>" for heading in headings)]
    lines += ["".join(f"<td>{html.escape(row.get(name, ''))}</td>" for name in names) for row in rows.values()]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _bars(panel: Mapping[str, Any], series: Sequence[Series], width: int) -> str:
    low = panel["fieldConfig"]["defaults"]["min"]
    high = max(one.points[-1][1] for one in series)
    rows = []
    for number, one in enumerate(series):
        value, y = one.points[-1][1], number * 32 + 6
        length = (value - low) / ((high - low) or 1) * (width - 200)
        rows.append(f'<text x="0" y="{y + 15}">{html.escape(one.name)}</text>')
        rows.append(f'<rect x="110" y="{y}" width="{length:.1f}" height="22" fill="{level(panel, value)}"/>')
        rows.append(f'<text x="{118 + length:.1f}" y="{y + 15}">{_shown(panel, value, one.name)}</text>')
    return f'<svg width="{width}" height="{len(series) * 32 + 8}">{"".join(rows)}</svg>'


def _graph(
    panel: Mapping[str, Any], series: Sequence[Series], window: tuple[float, float], size: tuple[int, int]
) -> str:
    custom = panel["fieldConfig"]["defaults"]["custom"]
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    areas = _stack(series) if stacked else [(one.points, []) for one in series]
    values = [value for points, _ in areas for _, value in points]
    low, high, step = _scale(min([*values, custom.get("axisSoftMin", min(values))]), max(values))
    (start, end), (width, height) = window, size
    left, bottom = 62, height - 18

    def place(at: float, value: float) -> tuple[float, float]:
        x = left + (at - start) / (end - start) * (width - left)
        return x, bottom - (value - low) / (high - low) * (bottom - 8)

    parts = [*_grid(panel, (low, high, step), place, window), *_thresholds(panel, (low, high), place, window)]
    for one, (points, base) in zip(series, areas, strict=True):
        color = _color(panel, series, one)
        dash = _override(panel, one.name, "custom.lineStyle")
        stroke = f'stroke="{color}" stroke-width="{custom["lineWidth"]}"' + (
            f' stroke-dasharray="{" ".join(map(str, dash["dash"]))}"' if dash and dash["fill"] == "dash" else ""
        )
        for part in _unbroken(points):
            floor = base if stacked else [(part[0][0], low), (part[-1][0], low)]
            around = _points([*part, *reversed(floor)], place)
            parts.append(f'<polygon points="{around}" fill="{color}" fill-opacity="{custom["fillOpacity"] / 100:g}"/>')
            parts.append(f'<polyline points="{_points(part, place)}" fill="none" {stroke}/>')
    return f'<svg width="{width}" height="{height}">{"".join(parts)}</svg>'


Place = Callable[[float, float], tuple[float, float]]


def _points(points: Points, place: Place) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in itertools.starmap(place, points))


def _grid(
    panel: Mapping[str, Any], scale: tuple[float, float, float], place: Place, window: tuple[float, float]
) -> list[str]:
    """Lines and labels of the axes."""
    low, high, step = scale
    start, end = window
    parts = []
    for number in range(round((high - low) / step) + 1):
        value = low + number * step
        (x, y), (right, _) = place(start, value), place(end, value)
        parts.append(f'<line x1="{x}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#2c3235"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{_shown(panel, value)}</text>')
    for number in range(6):
        at = start + (end - start) * (number + 0.5) / 6
        x, y = place(at, low)
        clock = time.strftime("%H:%M:%S", time.gmtime(at))
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{clock}</text>')
    return parts


def _thresholds(
    panel: Mapping[str, Any], scale: tuple[float, float], place: Place, window: tuple[float, float]
) -> list[str]:
    """A line at each threshold inside the axis, as Grafana draws them: they do not stretch it."""
    defaults = panel["fieldConfig"]["defaults"]
    mode = defaults["custom"].get("thresholdsStyle", {}).get("mode", "off")
    if mode == "off":
        return []
    if mode != "dashed":
        raise ValueError(f"panel {panel['title']!r}: cannot draw thresholdsStyle {mode}; add it to drawing.py")
    low, high = scale
    steps = [
        step for step in defaults["thresholds"]["steps"] if step["value"] is not None and low <= step["value"] <= high
    ]
    lines = ((*place(window[0], step["value"]), place(window[1], 0)[0], COLORS[step["color"]]) for step in steps)
    return [
        f'<line class="threshold" x1="{x:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{color}"'
        ' stroke-dasharray="10 10"/>'
        for x, y, right, color in lines
    ]


def _stack(series: Sequence[Series]) -> list[tuple[Points, Points]]:
    """Each line on top of the ones before, with the line below it; a series without a value counts as 0."""
    times = sorted({at for one in series for at, _ in one.points})
    sums = dict.fromkeys(times, 0.0)
    result = []
    for one in series:
        values, base = dict(one.points), list(sums.items())
        sums = {at: low + values.get(at, 0.0) for at, low in sums.items()}
        result.append((list(sums.items()), base))
    return result


def _unbroken(points: Points) -> list[Points]:
    """The runs of points without a gap."""
    usual = min((after[0] - before[0] for before, after in itertools.pairwise(points)), default=1.0)
    parts: list[Points] = [[points[0]]]
    for before, point in itertools.pairwise(points):
        if point[0] - before[0] > 1.5 * usual:
            parts.append([])
        parts[-1].append(point)
    return parts


def _legend(panel: Mapping[str, Any], series: Sequence[Series]) -> str:
    entries = (f'<i style="background:{_color(panel, series, one)}"></i>{html.escape(one.name)}' for one in series)
    return f'<div class="legend">{"".join(entries)}</div>'


def _scale(low: float, high: float) -> tuple[float, float, float]:
    """The ends of the axis and a round distance that divides it in two to five."""
    span = high - low or abs(high) or 1.0
    size = 10.0 ** math.floor(math.log10(span))
    step = next(size * part for part in (0.2, 0.25, 0.5, 1, 2) if span / (size * part) <= 5)
    start = math.floor(low / step + 1e-9) * step
    return start, max(math.ceil(high / step - 1e-9) * step, start + step), step
