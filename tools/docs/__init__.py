"""Generate documentation pages from the code when the site is built, so that they cannot go stale."""

from __future__ import annotations

from tools.docs import chart, cli, crd, examples, metrics, reasons, rounds, rules


def pages() -> dict[str, str]:
    """Every generated page: its path below ``docs/`` and its Markdown."""
    return {
        "reference/benchmarkrun.md": crd.page(),
        "reference/benchmarksweep.md": crd.sweep_page(),
        "reference/cli.md": cli.page(),
        "reference/chart.md": chart.page(),
        "reference/metrics.md": metrics.page(),
        "reference/rules.md": rules.page(),
        "reference/rounds.md": rounds.page(),
        "reference/reasons.md": reasons.page(),
        "reference/examples.md": examples.page(),
    }
