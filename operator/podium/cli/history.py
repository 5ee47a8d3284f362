"""``podium history``."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer
from rich.table import Table

from podium.api import rfc3339
from podium.cli.errors import UsageError
from podium.cli.output import Json, console, print_findings, print_json, print_line, table
from podium.cli.places import FOLDER_OR_URL, score_place, store_at
from podium.cli.times import unit_for
from podium.rules import Finding
from podium.stores import StoreError
from podium.submissions import HISTORY_COLUMNS, HistoryRow, Series, read_history, series_of, sparkline
from podium.text import csv_cell


def history(
    url: Annotated[str, typer.Argument(metavar="URL", help=f"{FOLDER_OR_URL} that contains results.")],
    benchmark: Annotated[str | None, typer.Option(help="Only this benchmark.")] = None,
    system: Annotated[str | None, typer.Option(help="Only this system.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    trend: Annotated[
        bool, typer.Option("--trend", help="Show how rates change: a table for each system, oldest first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List all results below a folder or URL, newest first.

    With --trend, reads the logs, too, and shows seconds per sample with their 95 % interval, and where their level
    changed: by more than chance explains, for two results or more. Exits with 1 if any of them cannot be read.
    """
    if as_csv and (as_json or trend):
        raise UsageError("use either --csv or --json" if as_json else "--trend has no CSV: use --json")
    if trend:
        _print_trend(url, benchmark, system, as_json=as_json)
        return
    try:
        read = list(read_history(store_at(url)))
    except StoreError as error:
        raise UsageError(str(error)) from error
    findings = [entry for entry in read if isinstance(entry, Finding)]
    past = [
        entry
        for entry in read
        if isinstance(entry, HistoryRow) and benchmark in (None, entry.benchmark) and system in (None, entry.system)
    ]
    past.sort(key=lambda entry: (entry.time, entry.uri), reverse=True)
    if as_json:
        print_json({"results": [e.document() for e in past], "findings": [f.document() for f in findings]})
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, HISTORY_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: csv_cell(value) for key, value in e.document().items()} for e in past)
    else:
        _print(past, findings)
    raise typer.Exit(1 if findings else 0)


def _print_trend(url: str, benchmark: str | None, system: str | None, *, as_json: bool) -> None:
    entries = [
        entry for entry in score_place(url) if benchmark in (None, entry.benchmark) and system in (None, entry.system)
    ]
    found = series_of(entries)
    if as_json:
        print_json([series.document() for series in found])
        return
    out = console()
    for series in found:
        out.print(_trend_table(series))
        print_line(out, f"{sparkline([point.value for point in series.points])}  (higher is slower)")
        out.print()
    if not found:
        out.print("no result whose logs say a rate")


def _trend_table(series: Series) -> Table:
    key, ratios = series.key, {change.index: change.ratio for change in series.changes}
    chips = f", {key.chips} chips" if key.chips else ""
    heading = key.name[0].upper() + key.name[1:]
    title = f"{key.round} {key.benchmark}, {key.system}{chips}"
    made = table("Started", "Result", heading, "±95 %", "Change", right=(heading, "±95 %", "Change"), title=title)
    for index, point in enumerate(series.points):
        started = rfc3339(point.started)[:16].replace("T", " ")
        near = "" if point.near is None else f"{point.near:.1%}"
        ratio = ratios.get(index)
        change = "" if ratio is None else f"{ratio - 1:+.1%}"
        style = "red" if ratio and ratio > 1 else "green" if ratio else ""
        made.add_row(started, point.path or ".", f"{point.value:.5g}", near, change, style=style)
    return made


def _print(past: list[HistoryRow], findings: list[Finding]) -> None:
    out = console()
    unit = unit_for(e.minutes for e in past)
    made = table("Started", "Run", "Round", "Benchmark", "System", unit.heading, "", right=(unit.heading,))
    for e in past:
        state = "" if e.official else "not official" if e.valid else "invalid"
        started = e.time[:16].replace("T", " ")
        score, style = unit.number(e.minutes), "" if e.valid else "red"
        made.add_row(started, e.name, e.round, e.benchmark, e.system, score, state, style=style)
    out.print(made if past else "no results")
    print_findings(out, findings)
