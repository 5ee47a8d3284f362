"""Pages of the documentation that are made from the code when the site is built, so that they cannot be stale."""

from __future__ import annotations

from tools.docs import chart, cli, crd, examples, metrics, reasons, rounds, rules


def pages() -> dict[str, str]:
    """Path below ``docs/`` and Markdown of every generated page."""
    return {
        "reference/benchmarkrun.md": crd.page(),
        "reference/cli.md": cli.page(),
        "reference/chart.md": chart.page(),
        "reference/metrics.md": metrics.page(),
        "reference/rules.md": rules.page(),
        "reference/rounds.md": rounds.page(),
        "reference/reasons.md": reasons.page(),
        "reference/examples.md": examples.page(),
    }
