"""The page about metrics, from the records that define them."""

from __future__ import annotations

from podium.metrics import reference
from tools.docs.markdown import code, plain, table

_HEAD = """# Metrics

The operator serves these on `:8080/metrics`. The series of a run are computed from memory on every scrape and end when
the run is deleted. [Alerts](../how-to/alerts.md) and [dashboards](../how-to/dashboards.md) use them.
"""


def page() -> str:
    """The page."""
    rows = [
        (code(family.name), family.type, ", ".join(map(code, family.labels)), plain(family.help))
        for family in reference()
    ]
    return "\n".join([_HEAD, table(["metric", "type", "labels", "meaning"], rows)])
