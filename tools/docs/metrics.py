"""Every metric, from the registry that the operator serves."""

from __future__ import annotations

from podium.metrics import Metrics
from tools.docs.markdown import code, plain, table

_HEAD = """# Metrics

What `:8080/metrics` of the operator serves. The series of a run are made when Prometheus asks, from what is in memory:
they end with the run's deletion.
"""


def page() -> str:
    """The page."""
    families = Metrics(lambda: (), lambda: 0).registry.collect()
    rows = [(code(family.name), family.type, plain(family.documentation)) for family in families]
    return "\n".join([_HEAD, table(["metric", "type", "what it is"], rows)])
