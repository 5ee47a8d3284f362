"""Every metric, as the collectors are made from it."""

from __future__ import annotations

from podium.metrics import reference
from tools.docs.markdown import code, plain, table

_HEAD = """# Metrics

What `:8080/metrics` of the operator serves. The series of a run are made when Prometheus asks, from what is in memory:
they end with the run's deletion. [Alerts](../how-to/alerts.md) and [dashboards](../how-to/dashboards.md) are made of
them.
"""


def page() -> str:
    """The page."""
    rows = [
        (code(family.name), family.type, ", ".join(map(code, family.labels)), plain(family.help))
        for family in reference()
    ]
    return "\n".join([_HEAD, table(["metric", "type", "labels", "what it is"], rows)])
