"""Find the result of a sweep, and write its page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import typer

from podium.cli.errors import UsageError
from podium.cli.output import console, print_findings, print_json, print_line
from podium.cli.pages import DEFAULT_PAGE, write_page
from podium.cli.places import store_at
from podium.documents import DocumentError, file_bytes
from podium.results.sweep import SWEEP_RESULT
from podium.rules import Finding
from podium.rules.catalog import RuleId
from podium.stores import NotFound, StoreError, document_bytes


def find_sweep(place: str) -> tuple[bytes, str] | None:
    """Return the sweep.json at a file, folder or URL, and where it is; None if none is there. Raises UsageError."""
    named = place.endswith(".json")
    try:
        if "://" not in place and named and Path(place).is_file():
            return file_bytes(Path(place)), place
        folder, _, name = place.rpartition("/") if "://" in place and named else (place, "", SWEEP_RESULT)
        return document_bytes(store_at(folder), name), f"{folder.rstrip('/')}/{name}"
    except NotFound as error:
        if named:
            raise UsageError(f"{place}: no such file") from error
        return None
    except OSError as error:
        raise UsageError(f"{place}: {error.strerror}") from error
    except (StoreError, DocumentError) as error:
        raise UsageError(str(error)) from error


def report_sweep(content: bytes, where: str, out: Path | None, *, as_json: bool, sha256: str = "") -> NoReturn:
    """Write the page of a sweep.json, and exit: with 1 if something in it is wrong, or if its digest is not `sha256`.

    Raises UsageError.
    """
    from podium.report import outcome, read_sweep_report, sweep_page  # noqa: PLC0415 - jinja2 is slow to load

    try:
        report = read_sweep_report(content, where)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if sha256 and report.sha256 != sha256:
        changed = Finding(RuleId.REPORT_SUMS, where, "is not the file that the status of the sweep names")
        report = replace(report, findings=(changed, *report.findings))
    if as_json:
        print_json(report.json())
    if out or not as_json:
        write_page(out, sweep_page(report))
    if not as_json:
        screen = console()
        print_line(screen, f"{out or DEFAULT_PAGE}")
        print_line(screen, outcome(report))
        print_findings(screen, report.findings)
    raise typer.Exit(1 if report.findings else 0)
