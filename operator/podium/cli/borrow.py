"""``podium borrow``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from podium.api import BenchmarkRunSpec
from podium.cli.errors import UsageError
from podium.cli.files import read_document, read_spec
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import RoundOption, score_place
from podium.rounds import load_rounds
from podium.rules import check_spec
from podium.submissions import borrow as borrow_from
from podium.submissions import borrowing_run


def borrow(
    result: Annotated[str, typer.Argument(metavar="RESULT", help="Folder or URL with the logs of one benchmark.")],
    to: Annotated[Path, typer.Option(metavar="RUN.yaml", help="The run to start from; the file is not changed.")],
    out: Annotated[Path | None, typer.Option(help="File for the new run; default: standard output.")] = None,
    batch_size: Annotated[bool, typer.Option("--batch-size", help="Also copy the batch size.")] = False,
    round_: RoundOption = None,
    as_json: Json = False,
) -> None:
    """Copy the hyperparameters of another result into a run.

    They are copied as a group, and the new run records where they came from. Exits with 1 and writes no run if the
    result is for another benchmark or its values would not be admitted.
    """
    name, spec = read_spec(to)
    if out is not None and (out.exists() or out.is_symlink()):
        raise UsageError(f"--out {out} already exists: choose another file")
    entries = score_place(result, round_)
    if len(entries) != 1:
        names = ", ".join(entry.path for entry in entries)
        raise UsageError(f"{result} contains {len(entries)} results: choose one of {names}")
    (entry,) = entries
    rounds = load_rounds()
    borrowed = borrow_from(entry, spec, rounds, with_batch_size=batch_size)
    document: dict[str, Any] = borrowing_run(read_document(to), entry, borrowed, result)
    admitted = check_spec(BenchmarkRunSpec.model_validate(document["spec"]), rounds)
    findings = (*borrowed.findings, *admitted)
    notes = [f"{key} is left out: {name} cannot set it" for key in borrowed.left_out]
    if out is not None and not findings:
        with out.open("x") as file:  # creates a new file; exists() misses a dangling link, and this does not follow it
            file.write(yaml.safe_dump(document, sort_keys=False))
    if as_json:
        print_json(
            {"run": None if findings else document, "findings": [f.document() for f in findings], "notes": notes}
        )
    else:
        errors = console(stderr=True)
        for note in notes:
            print_line(errors, note, "dim")
        print_findings(errors, findings)
        if not findings and out is None:
            typer.echo(yaml.safe_dump(document, sort_keys=False), nl=False)
    raise typer.Exit(1 if findings else 0)
