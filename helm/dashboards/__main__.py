"""``python -m helm.dashboards`` writes the three dashboards into the chart."""

from __future__ import annotations

from pathlib import Path

from helm.dashboards import DASHBOARDS, render

for name in DASHBOARDS:
    (Path(__file__).parents[1] / "podium/dashboards" / f"{name}.json").write_text(render(name))
