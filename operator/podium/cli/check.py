"""``podium check`` and ``podium validate``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from podium.api import BenchmarkRunSpec, Division
from podium.cli.errors import UsageError
from podium.cli.files import SpecError, parse_spec, read_documents, run_name
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import Place, RoundOption, asked_round, store_and_log
from podium.mlcommons import MissingCheckerError
from podium.rounds import load_all_rounds, load_rounds
from podium.rules import Finding, check_admission, check_spec
from podium.stores import StoreError
from podium.submissions import check_place

DivisionOption = Annotated[
    str | None,
    typer.Option(
        "--division", help="closed, open or outOfTheBox; default: detected from the result or its logs, else closed."
    ),
]


def check(path: Place, round_: RoundOption = None, division: DivisionOption = None, as_json: Json = False) -> None:
    """Check logs against the rules of their round.

    Checks keys, order, clock, initialization, seeds, target and hyperparameters. PATH may be a single file. From v0.6
    on, MLCommons' checker also runs. Each finding names its rule, its line and the remedy. Exit code 1 if there are
    any.
    """
    if division not in (None, *get_args(Division)):
        raise UsageError(f"--division {division}: choose closed, open or outOfTheBox")
    rounds = load_all_rounds()
    store, only = store_and_log(path)
    try:
        checked = list(
            check_place(store, rounds, asked_round=asked_round(round_, rounds), division=division, only=only)
        )
    except (StoreError, MissingCheckerError) as error:
        raise UsageError(str(error)) from error
    if not checked:
        raise UsageError(f"{path}: no result_<number>.txt found; name a log or a folder that contains logs")
    if as_json:
        print_json(
            [
                {
                    "log": log.log,
                    "round": log.round,
                    "benchmark": log.benchmark,
                    "official": log.official,
                    "state": str(log.verdict.state),
                    "reason": str(log.verdict.reason),
                    "findings": [finding.document() for finding in log.findings],
                }
                for log in checked
            ]
        )
    else:
        out = console()
        print_findings(out, (finding for log in checked for finding in log.findings))
        bad = sum(bool(log.findings) for log in checked)
        by = Counter(f"{log.round} {log.benchmark}" for log in checked)
        rules = ", ".join(f"{count} of {name}" for name, count in by.items())
        print_line(out, f"{len(checked)} logs ({rules}): {f'{bad} with findings' if bad else 'no findings'}")
    raise typer.Exit(1 if any(log.findings for log in checked) else 0)


def validate(
    file: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="A file with one or more BenchmarkRuns.")],
    as_json: Json = False,
) -> None:
    """Check BenchmarkRuns before they are applied.

    Checks fields, round and division as the API server and the operator do. Exit code 1 if any run would be rejected.
    """
    checked = [_validated(file, document) for document in read_documents(file)]
    if as_json:
        print_json(
            [
                {"name": name, "file": str(file), "findings": [finding.document() for finding in findings]}
                for name, _, findings in checked
            ]
        )
    else:
        out = console()
        for name, spec, findings in checked:
            if findings and len(checked) > 1:
                print_line(out, f"{file}: {name}:")
            print_findings(out, findings)
            if spec and not findings:
                division = f"{spec.round} {spec.benchmark}, {spec.division} division"
                print_line(out, f"{file}: {name} would be admitted to {division}")
    raise typer.Exit(1 if any(findings for _, _, findings in checked) else 0)


def _validated(file: Path, document: dict[str, Any]) -> tuple[str, BenchmarkRunSpec | None, tuple[Finding, ...]]:
    """Name, spec if it could be read, and all findings."""
    name = run_name(file, document)
    try:
        spec = parse_spec(file, document)
    except SpecError as error:
        return name, None, error.findings
    return name, spec, (*check_admission(name, spec), *check_spec(spec, load_rounds()))
