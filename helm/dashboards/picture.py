"""Draws a dashboard from its JSON and a Prometheus, where there is no Grafana.

    python -m helm.dashboards.picture run --prometheus http://localhost:9090 --minutes 10 \\
        --set namespace=lab --set run=resnet-digits --out run.png

drawing.py draws the panels; Chromium turns the page into a PNG.
"""

from __future__ import annotations

import argparse
import html
import json
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helm.dashboards.drawing import Points, Series, draw
from helm.dashboards.reading import named, panels, queries

COLUMN, LINE, GAP = 60, 34, 8  # pixels of Grafana's grid of 24 columns
WIDTH = 24 * COLUMN
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


@dataclass(frozen=True, slots=True)
class Source:
    """A Prometheus and a window of time, in unix seconds."""

    url: str
    start: float
    end: float

    def read(self, expression: str) -> list[tuple[dict[str, str], Points]]:
        """The series of a range query of about 300 points."""
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
            size = place["w"] * COLUMN - 26, place["h"] * LINE - 60
            inner = draw(panel, _series(panel, source, known), (source.start, source.end), size)
            parts.append(f'<div class="panel" style="{box}"><h2>{title}</h2>{inner}</div>')
    body = "".join(parts)
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{body}", bottom + GAP


def _series(panel: Mapping[str, Any], source: Source, variables: Mapping[str, str]) -> list[Series]:
    result = []
    for letter, query in zip("ABCDEFGH", queries(panel, variables), strict=False):
        for labels, points in source.read(query.expression):
            if query.instant and points[-1][0] < source.end - (source.end - source.start) / 100:
                continue  # Grafana asks for the value at the end, and there is none
            result.append(Series(named(query.legend, labels), points, labels, letter))
    return result


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
