"""``podium report``."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from podium.cli.errors import UsageError
from podium.cli.keys import KeyOption, public_key_in
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.pages import DEFAULT_PAGE, write_page
from podium.cli.places import FOLDER_OR_URL, RoundOption, asked_round, nothing_below, store_at
from podium.cli.sweep_report import find_sweep, report_sweep
from podium.rounds import load_rounds
from podium.stores import StoreError
from podium.submissions import read_folders, score_folder


def report(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help=f"{FOLDER_OR_URL} that contains result_*.txt, or sweep.json.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; default: report.html in the current folder, or none with --json."),
    ] = None,
    round_: RoundOption = None,
    key: KeyOption = None,
    as_json: Json = False,
) -> None:
    """Write an HTML report on a result.

    Shows the score, every attempt, curves, spread, time, system, hyperparameters and provenance, in one file without
    scripts. The report of a submitter or a round shows all its results. The report of a sweep (its sweep.json, or the
    folder of it) shows which rows are slow. Exits with 1 if something is wrong with a result; the report is written
    anyway.
    """
    if sweep := find_sweep(path):
        if round_ or key:
            raise UsageError(f"{sweep[1]} is the result of a sweep: --round and --key do not apply to it")
        report_sweep(*sweep, out, as_json=as_json)
    from podium.report import read_report, report_page  # noqa: PLC0415 - jinja2 is slow to load

    rounds = load_rounds()
    asked = asked_round(round_, rounds)
    public = public_key_in(key)
    try:
        store = store_at(path)
        reports = [read_report(store, f, score_folder(f, rounds, asked), public) for f in read_folders(store)]
    except StoreError as error:
        raise UsageError(str(error)) from error
    if not reports:
        raise nothing_below(path)
    if as_json:
        print_json([each.document() for each in reports])
    if out or not as_json:
        page = report_page(reports, datetime.now().astimezone(), version("podium-operator"))
        write_page(out, page)
    if not as_json:
        screen = console()
        print_line(screen, f"{out or DEFAULT_PAGE}")
        print_findings(screen, (finding for each in reports for finding in each.findings))
    raise typer.Exit(1 if any(each.findings for each in reports) else 0)
