"""``podium report``."""

from __future__ import annotations

import secrets
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from podium.cli.errors import UsageError
from podium.cli.keys import KeyOption, public_key_in
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import Place, RoundOption, asked_round, nothing_below, store_at
from podium.rounds import load_rounds
from podium.stores import StoreError
from podium.stores.beneath import OpenFolder
from podium.submissions import read_folders, score_folder
from podium.text import printable

_DEFAULT = "report.html"


def report(
    path: Place,
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
    scripts. The report of a submitter or a round shows all its results. Exits with 1 if something is wrong with a
    result; the report is written anyway.
    """
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
        print_line(screen, f"{out or _DEFAULT}")
        print_findings(screen, (finding for each in reports for finding in each.findings))
    raise typer.Exit(1 if any(each.findings for each in reports) else 0)


def write_page(out: Path | None, text: str, option: str = "--out") -> None:
    """Write a page or picture to the file that the user named with `option`, or else to report.html here.

    Raises UsageError.

    This folder may be somebody else's package: a link of that name is replaced, not followed.
    """
    content = printable(text).encode(errors="replace")
    try:
        if out:
            out.write_bytes(content)
            return
        temporary = f".{_DEFAULT}-{secrets.token_hex(8)}"
        with OpenFolder.at(Path()) as here:
            try:
                with here.create(temporary) as file:
                    file.write(content)
                here.move(temporary, here, _DEFAULT)
            finally:
                here.remove(temporary)
    except OSError as error:
        what = f"{option} {out}" if out else _DEFAULT
        raise UsageError(f"{what}: {error.strerror}; name a file in an existing folder with {option}") from error
