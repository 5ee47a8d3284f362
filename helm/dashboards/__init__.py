"""Grafana's dashboards as code. ``make generate`` writes them to ``helm/podium/dashboards``; the chart ships those.

Every query is run against a real Prometheus by ``tests/e2e/test_dashboards.py``.
"""

from __future__ import annotations

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from helm.dashboards import fleet, operator, run

DASHBOARDS = {"fleet": fleet.dashboard, "run": run.dashboard, "operator": operator.dashboard}


def render(name: str) -> str:
    """The JSON of one dashboard, as Grafana imports it."""
    model = json.loads(JSONEncoder().encode(DASHBOARDS[name]().build()))
    return json.dumps(model, indent=1, sort_keys=True) + "\n"
