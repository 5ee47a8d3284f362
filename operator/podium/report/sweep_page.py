"""Render the page of a sweep: one HTML file that includes its styles and pictures, without scripts or external files.

It has no time of its own: the same sweep.json gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from podium.report.page import environment
from podium.report.sweep import ReportedRow, SweepReport, details, named, outcome, rows_text
from podium.report.sweep_charts import rates_chart, scaling_chart, variants_chart
from podium.report.units import digits, percent
from podium.text import one_line

_VERDICTS = {"Ok": "OK", "Slow": "Slow", "Failed": "Failed", "Unsure": "Unsure", "Waiting": "No rate"}
_LONGEST = 200  # characters of a value
_LONGEST_ROW = 120
_RUNS_SHOWN = 4  # names of the runs of an outlier
_NODES_SHOWN = 4  # of a row


def sweep_page(report: SweepReport) -> str:
    """An HTML page about one sweep."""
    number, unit, label = _headline(report)
    return (
        environment()
        .get_template("sweep.html.j2")
        .render(
            report=report,
            document=report.document,
            outcome=outcome(report),
            details=details(report),
            number=number,
            unit=unit,
            mood="alarming" if report.having("Slow") or report.having("Failed") else _calm(report),
            label=label,
            figures=_figures(report),
            charts=_charts(report),
            rows=[_cells(row, report) for row in report.rows],
            compared="Efficiency" if report.curve else "Compared with the first" if report.pairs else "Deviation",
            facts=_facts(report),
            named=named,
        )
    )


def _headline(report: SweepReport) -> tuple[str, str, str]:
    """The one number of the page, its unit, and what it is."""
    if report.curve:
        knee, wanted = report.curve.knee, f"with an efficiency above {100 * report.curve.min_efficiency:g} %"
        return ("-" if knee is None else f"{knee:,}"), ("node" if knee == 1 else "nodes"), wanted
    return f"{len(report.having('Ok')):,} of {len(report.rows):,}", "OK", rows_text(report)


def _calm(report: SweepReport) -> str:
    return "" if len(report.having("Ok")) == len(report.rows) else "none"


def _figures(report: SweepReport) -> list[tuple[str, str]]:
    """The numbers beside the headline: number and label."""
    found = [(f"{len(report.having(word)):,}", text.lower()) for word, text in _VERDICTS.items() if word != "Ok"]
    found = [figure for figure in found if figure != ("0", "no rate")]
    runs = len(report.document.runs)
    found.append((f"{runs:,}", "runs" if runs != 1 else "run"))
    if report.fleet and report.fleet.median is not None:
        found.append((digits(report.fleet.median), f"{report.unit}, median"))
    if report.fleet and report.fleet.spread is not None:
        found.append((percent(report.fleet.spread), "spread of the rows"))
    noise = report.fleet.noise if report.fleet else report.curve.noise if report.curve else None
    if noise is not None:
        found.append((percent(noise), "noise of one run"))
    return found


def _charts(report: SweepReport) -> list[tuple[str, str, Markup]]:
    """The pictures that there is something to draw in: title, caption, picture."""
    found = []
    if rates := rates_chart(report):
        key = "One bar for each range of rates, as high as the number of rows in it."
        found.append(("Rates", key, rates))
    if report.curve and (scaling := scaling_chart(report.curve)):
        base = report.curve.base or 1
        key = (
            f"Rate per node, compared with that of {base} {'node' if base == 1 else 'nodes'}; bars are intervals. The "
            "knee is the largest count that is surely above the wanted efficiency. Slow: surely below it."
        )
        found.append(("Scaling", key, scaling))
    if variants := variants_chart(report):
        found.append(
            ("Variants", "Each variant's rate, compared with that of the first; bars are intervals.", variants)
        )
    return found


def _cells(row: ReportedRow, report: SweepReport) -> dict[str, Any]:
    """The cells of a row of the table."""
    base = 1.0 if report.curve else 0.0
    interval = row.interval if row.interval and row.interval[0] < row.interval[1] else ()
    sign = "" if report.curve else "+"
    more = f" and {len(row.nodes) - _NODES_SHOWN} more" if len(row.nodes) > _NODES_SHOWN else ""
    nodes = ", ".join(named(node, _LONGEST_ROW) for node in row.nodes[:_NODES_SHOWN]) + more
    return {
        "name": named(row.name, _LONGEST_ROW),
        "nodes": nodes if len(row.nodes) > 1 else "",
        "runs": len(row.runs),
        "rate": "" if row.rate is None else digits(row.rate),
        "deviation": "" if row.deviation is None else f"{_percent(row.deviation + base, sign)} %",
        "interval": " to ".join(_percent(end + base, sign) for end in interval),
        "verdict": _VERDICTS.get(row.verdict, row.verdict),
        "outlier": row.verdict != "Ok",
        "alarming": row.verdict in ("Slow", "Failed"),
        "reason": one_line(row.reason) if row.verdict != "Ok" or report.pairs else "",
        "names": [named(run, _LONGEST_ROW) for run in row.runs[:_RUNS_SHOWN]] if row.verdict != "Ok" else [],
    }


def _percent(ratio: float, sign: str) -> str:
    return f"{100 * ratio:{sign}.1f}" if abs(ratio) < 100 else f"{'over' if ratio > 0 else 'under'} 9,999"


def _facts(report: SweepReport) -> list[tuple[str, str]]:
    """How it was measured. The template is not checked: only texts and numbers of it are shown."""
    document, spec = report.document, report.spec
    template = spec.template
    system = template.get("system")
    measure = template.get("measure")
    selector = spec.nodes.selector if spec.nodes else {}
    found = [
        ("Benchmark", _scalars(template, "round", "benchmark", "division", "preset")),
        ("System", _scalars(system, "name")),
        ("Accelerators per node", _scalars(system, "acceleratorsPerNode")),
        ("Measured", _measured(measure)),
        ("Attempts per run", _scalars(template, "attempts")),
        ("Nodes", ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))),
        ("Tolerance", "" if report.curve else percent(float(spec.verdict.tolerance))),
        ("Runs per row", f"{spec.verdict.min_runs} to {spec.verdict.max_runs}"),
        ("Sweep", f"{document.sweep.namespace}/{document.sweep.name}, uid {document.sweep.uid}"),
        ("Written by", f"Podium {document.podium}"),
        ("SHA-256 of sweep.json", report.sha256),
    ]
    return [(name, named(value, _LONGEST)) for name, value in found if value]


def _measured(measure: Any) -> str:
    if not measure:
        return "time to train"
    warmup, duration, samples = (_scalars(measure, name) for name in ("warmup", "duration", "samples"))
    length = f"{samples} samples" if samples else duration
    return f"{length} after a warm-up of {warmup}" if warmup else length


def _scalars(value: Any, *names: str) -> str:
    """The texts and numbers with these names, as one text; "" if there are none."""
    found = (value.get(name) for name in names) if isinstance(value, Mapping) else ()
    return " ".join(str(one) for one in found if isinstance(one, str | int | float))[:_LONGEST]
