"""``podium history``."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from podium.cli.files import UsageError
from podium.cli.output import Json, console, print_findings, print_json, table
from podium.cli.places import store_at
from podium.rules import Finding
from podium.stores import StoreError
from podium.submissions import HISTORY_COLUMNS, HistoryRow, read_history
from podium.text import csv_cell


def history(
    url: Annotated[str, typer.Argument(metavar="URL", help="Folder, file:// or s3:// URL with results below it.")],
    benchmark: Annotated[str | None, typer.Option(help="Only this benchmark.")] = None,
    system: Annotated[str | None, typer.Option(help="Only this system.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    as_json: Json = False,
) -> None:
    """List all results below a place, newest first. Exit code 1 when one of them cannot be read."""
    if as_csv and as_json:
        raise UsageError("--csv and --json: choose one")
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


def _print(past: list[HistoryRow], findings: list[Finding]) -> None:
    out = console()
    made = table("Started", "Run", "Round", "Benchmark", "System", "Minutes", "", right=("Minutes",))
    for e in past:
        state = "" if e.official else "not official" if e.valid else "invalid"
        minutes = "-" if e.minutes is None else f"{e.minutes:.3f}"
        started = e.time[:16].replace("T", " ")
        made.add_row(started, e.name, e.round, e.benchmark, e.system, minutes, state, style="" if e.valid else "red")
    out.print(made if past else "no results")
    print_findings(out, findings)
