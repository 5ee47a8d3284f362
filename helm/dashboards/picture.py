"""A picture of a dashboard from its JSON and a Prometheus, for where there is no Grafana.

    python -m helm.dashboards.picture run --prometheus http://localhost:9090 --minutes 10 \\
        --set namespace=lab --set run=resnet-digits --out run.png

It knows the panels of our own dashboards, not all of Grafana. Chromium draws it.
"""

from __future__ import annotations

import argparse
import html
import itertools
import json
import math
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helm.dashboards.reading import named, panels, queries

COLUMN, LINE, GAP = 60, 34, 8  # pixels of Grafana's grid of 24 columns
WIDTH = 24 * COLUMN
COLORS = {
    "green": "#73bf69", "yellow": "#fade2a", "blue": "#5794f2", "orange": "#ff9830", "red": "#f2495c",
    "purple": "#b877d9", "gray": "#8e8e8e", "dark-red": "#c4162a", "text": "#b0b3b8",
}  # fmt: skip
PALETTE = ("#73bf69", "#fade2a", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffb357")
STYLE = """
body { margin: 0; background: #111217; color: #d8d9da; font: 13px Inter, "DejaVu Sans", sans-serif; }
div.panel { position: absolute; box-sizing: border-box; background: #181b1f; border: 1px solid #2c3235;
  border-radius: 2px; padding: 6px 8px; overflow: hidden; }
div.row { position: absolute; font-size: 15px; padding-top: 8px; }
h2 { font: 600 13px Inter, "DejaVu Sans", sans-serif; margin: 0 0 4px; }
div.big { font-size: 30px; text-align: center; margin-top: 18px; }
div.big small { font-size: 14px; color: #9fa3a8; }
div.legend { font-size: 11px; white-space: nowrap; color: #b0b3b8; }
div.legend i { display: inline-block; width: 14px; height: 3px; margin: 0 5px 3px 12px; }
table { border-spacing: 14px 6px; text-align: left; }
svg text { fill: #9fa3a8; font-size: 11px; }
"""

Points = list[tuple[float, float]]


@dataclass(slots=True)
class Series:
    """One line: its name, and (unix seconds, value)."""

    name: str
    points: Points
    color: str = ""
    dashed: bool = False
    base: Points = field(default_factory=list)  # the line below, when they are stacked
    labels: Mapping[str, str] = field(default_factory=dict)
    letter: str = ""  # of its query


@dataclass(frozen=True, slots=True)
class Source:
    """A Prometheus and a window of time, in unix seconds."""

    url: str
    start: float
    end: float

    def read(self, expression: str) -> list[tuple[dict[str, str], Points]]:
        """The series of a range query of some 300 points."""
        step = max(1.0, (self.end - self.start) / 300)
        asked = {"query": expression, "start": f"{self.start}", "end": f"{self.end}", "step": f"{step}"}
        address = f"{self.url}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(address) as answer:  # noqa: S310 - a Prometheus that the caller names
            found = json.load(answer)["data"]["result"]
        series = (
            (one["metric"], [(float(at), float(value)) for at, value in one["values"] if value != "NaN"])
            for one in found
        )
        return [(labels, points) for labels, points in series if points]


def page(name: str, source: Source, variables: Mapping[str, str]) -> tuple[str, int]:
    """HTML of the dashboard, and its height in pixels."""
    known = {"__range": f"{source.end - source.start:.0f}s", "__rate_interval": "10s", **variables}
    parts, bottom = [], 0
    for panel in panels(name):
        place = panel["gridPos"]
        bottom = max(bottom, (place["y"] + place["h"]) * LINE)
        box = f"left:{place['x'] * COLUMN + GAP / 2}px;top:{place['y'] * LINE + GAP / 2}px;"
        box += f"width:{place['w'] * COLUMN - GAP}px;height:{place['h'] * LINE - GAP}px"
        title = html.escape(panel["title"])
        if panel["type"] == "row":
            parts.append(f'<div class="row" style="{box}">{title}</div>')
        else:
            inner = _panel(panel, _series(panel, source, known), source)
            parts.append(f'<div class="panel" style="{box}"><h2>{title}</h2>{inner}</div>')
    body = "".join(parts)
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{body}", bottom + GAP


def screenshot(text: str, height: int, out: Path) -> None:
    """Have Chromium draw a page of WIDTH pixels."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(text)
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{height}",
             f"--screenshot={out.resolve()}", file.as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def _series(panel: Mapping[str, Any], source: Source, variables: Mapping[str, str]) -> list[Series]:
    result = []
    for letter, query in zip("ABCDEFGH", queries(panel, variables), strict=False):
        for labels, points in source.read(query.expression):
            if query.instant and points[-1][0] < source.end - (source.end - source.start) / 100:
                continue  # Grafana asks for its value at the end, and there is none
            result.append(Series(named(query.legend, labels), points, labels=labels, letter=letter))
    for number, series in enumerate(result):
        series.color = _override(panel, series.name, "color").get("fixedColor", "")
        series.color = COLORS.get(series.color) or PALETTE[number % len(PALETTE)]
        series.dashed = bool(_override(panel, series.name, "custom.lineStyle"))
    return result


def _override(panel: Mapping[str, Any], name: str, wanted: str) -> dict[str, Any]:
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        prefix = matcher["options"].removesuffix(".*")
        fits = name.startswith(prefix) if matcher["id"] == "byRegexp" else name == prefix
        for entry in override["properties"] if fits else ():
            if entry["id"] == wanted:
                return dict(entry["value"])
    return {}


def _panel(panel: Mapping[str, Any], series: Sequence[Series], source: Source) -> str:
    unit, width = panel["fieldConfig"]["defaults"].get("unit", "none"), panel["gridPos"]["w"] * COLUMN - 26
    height = panel["gridPos"]["h"] * LINE - 60
    if panel["type"] == "stat":
        return _numbers(series, unit, panel["options"]["textMode"])
    if not series:
        return '<div class="big"><small>No data</small></div>'
    if panel["type"] == "table":
        return _table(panel, series)
    if panel["type"] == "bargauge":
        return _bars(series, unit, width)
    stacked = panel["fieldConfig"]["defaults"].get("custom", {}).get("stacking", {}).get("mode") == "normal"
    return _graph(_stack(series) if stacked else series, unit, source, (width, height)) + _legend(series)


def _numbers(series: Sequence[Series], unit: str, mode: str) -> str:
    texts = []
    for one in series:
        name, value = html.escape(one.name), shown(one.points[-1][1], unit)
        named_too = mode == "value_and_name" or (mode == "auto" and one.name)
        texts.append(name if mode == "name" else f"<small>{name}</small> {value}" if named_too else value)
    return f'<div class="big">{" &nbsp; ".join(texts) or "-"}</div>'


def _table(panel: Mapping[str, Any], series: Sequence[Series]) -> str:
    """What the transformations of `listing` come to: the queries' rows side by side, by their labels."""
    organized = panel["transformations"][-1]["options"]
    rename = {
        name: organized["renameByName"][name]
        for name in sorted(organized["indexByName"], key=organized["indexByName"].get)
    }
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in series:
        row = rows.setdefault((one.labels["namespace"], one.labels["run"]), {})
        row |= {**one.labels, f"Value #{one.letter}": f"{one.points[-1][1]:.4g}"}
    lines = ["".join(f"<th>{html.escape(heading)}</th>" for heading in rename.values())]
    lines += ["".join(f"<td>{html.escape(row.get(name, ''))}</td>" for name in rename) for row in rows.values()]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _bars(series: Sequence[Series], unit: str, width: int) -> str:
    most = max((one.points[-1][1] for one in series), default=1) or 1
    rows = []
    for number, one in enumerate(sorted(series, key=lambda s: s.name)):
        value, y = one.points[-1][1], number * 32 + 6
        rows.append(f'<text x="0" y="{y + 15}">{html.escape(one.name)}</text>')
        rows.append(f'<rect x="110" y="{y}" width="{value / most * (width - 200):.1f}" height="22" fill="#73bf69"/>')
        rows.append(f'<text x="{118 + value / most * (width - 200):.1f}" y="{y + 15}">{shown(value, unit)}</text>')
    return f'<svg width="{width}" height="{len(series) * 32 + 8}">{"".join(rows)}</svg>'


def _stack(series: Sequence[Series]) -> list[Series]:
    """Each line on top of the ones before; a series that is not there at a time is 0 then."""
    times = sorted({at for one in series for at, _ in one.points})
    sums = dict.fromkeys(times, 0.0)
    result = []
    for one in series:
        values, base = dict(one.points), list(sums.items())
        sums = {at: low + values.get(at, 0.0) for at, low in sums.items()}
        result.append(Series(one.name, list(sums.items()), one.color, one.dashed, base))
    return result


def _graph(series: Sequence[Series], unit: str, source: Source, size: tuple[int, int]) -> str:
    width, height = size
    left, bottom = 58, height - 18
    high = max((value for one in series for _, value in one.points), default=1.0)
    step = _step(high)
    high = max(step, math.ceil(high / step - 1e-9) * step)

    def place(at: float, value: float) -> str:
        x = left + (at - source.start) / (source.end - source.start) * (width - left)
        return f"{x:.1f},{bottom - value / high * (bottom - 8):.1f}"

    parts = []
    for number in range(round(high / step) + 1):
        y = bottom - number * step / high * (bottom - 8)
        parts.append(f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#2c3235"/>')
        text = shown(number * step, unit)
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for number in range(6):
        at = source.start + (source.end - source.start) * (number + 0.5) / 6
        x = left + (number + 0.5) / 6 * (width - left)
        clock = time.strftime("%H:%M:%S", time.gmtime(at))
        parts.append(f'<text x="{x:.1f}" y="{height - 2}" text-anchor="middle">{clock}</text>')
    for one in series:
        upper = [place(*point) for point in one.points]
        if one.base:
            lower = [place(*point) for point in reversed(one.base)]
            parts.append(f'<polygon points="{" ".join(upper + lower)}" fill="{one.color}" fill-opacity=".6"/>')
        else:
            parts += [_line(part, place, one) for part in _unbroken(one.points)]
    return f'<svg width="{width}" height="{height}">{"".join(parts)}</svg>'


def _line(points: Points, place: Any, one: Series) -> str:
    dash = ' stroke-dasharray="8 8"' if one.dashed else ""
    joined = " ".join(place(*point) for point in points)
    return f'<polyline points="{joined}" fill="none" stroke="{one.color}" stroke-width="2"{dash}/>'


def _unbroken(points: Points) -> list[Points]:
    """A gap stays a gap."""
    usual = min((b[0] - a[0] for a, b in itertools.pairwise(points)), default=1.0)
    parts: list[Points] = [[points[0]]]
    for before, point in itertools.pairwise(points):
        if point[0] - before[0] > 1.5 * usual:
            parts.append([])
        parts[-1].append(point)
    return parts


def _legend(series: Sequence[Series]) -> str:
    entries = (f'<i style="background:{one.color}"></i>{html.escape(one.name)}' for one in series)
    return f'<div class="legend">{"".join(entries)}</div>'


def _step(high: float) -> float:
    """A round distance, so that there are two to five of it."""
    if high <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(high))
    return next(size * part for part in (0.2, 0.25, 0.5, 1, 2) if high / (size * part) <= 5)


def shown(value: float, unit: str) -> str:
    """A number as Grafana would show it, more or less."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s" and abs(value) >= 120:
        return f"{value / 60:.3g} min" if abs(value) < 7200 else f"{value / 3600:.3g} h"
    suffix = {"s": " s", "percent": " %", "watt": " W", "joule": " J"}.get(unit, "")
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}{suffix.strip()}".rstrip()
    return f"{value:.3g}{suffix}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dashboard", choices=("fleet", "run", "operator"))
    parser.add_argument("--prometheus", default="http://localhost:9090")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    end = time.time()
    source = Source(given.prometheus, end - given.minutes * 60, end)
    text, height = page(given.dashboard, source, dict(pair.split("=", 1) for pair in given.set))
    screenshot(text, height, given.out)


if __name__ == "__main__":
    main()
