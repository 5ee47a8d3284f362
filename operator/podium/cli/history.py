"""``podium history``."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from podium.cli.errors import UsageError
from podium.cli.output import Json, console, print_findings, print_json, table
from podium.cli.places import FOLDER_OR_URL, store_at
from podium.cli.times import unit_for
from podium.rules import Finding
from podium.stores import StoreError
from podium.submissions import HISTORY_COLUMNS, HistoryRow, read_history
from podium.text import csv_cell


def history(
    url: Annotated[str, typer.Argument(metavar="URL", help=f"{FOLDER_OR_URL} that contains results.")],
    benchmark: Annotated[str | None, typer.Option(help="Only this benchmark.")] = None,
    system: Annotated[str | None, typer.Option(help="Only this system.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    as_json: Json = False,
) -> None:
    """List all results below a folder or URL, newest first.

    Exits with 1 if any of them cannot be read.
    """
    if as_csv and as_json:
        raise UsageError("use either --csv or --json")
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
    unit = unit_for(e.minutes for e in past)
    made = table("Started", "Run", "Round", "Benchmark", "System", unit.heading, "", right=(unit.heading,))
    for e in past:
        state = "" if e.official else "not official" if e.valid else "invalid"
        started = e.time[:16].replace("T", " ")
        score, style = unit.number(e.minutes), "" if e.valid else "red"
        made.add_row(started, e.name, e.round, e.benchmark, e.system, score, state, style=style)
    out.print(made if past else "no results")
    print_findings(out, findings)
