"""``podium check``."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, get_args

import typer

from podium.api import Division
from podium.cli.errors import UsageError
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import Place, RoundOption, asked_round, store_and_log
from podium.mlcommons import MissingCheckerError
from podium.rounds import load_rounds
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

    Checks keys, order, clock, initialization, seeds, target and hyperparameters. PATH can be a single file. From v0.6
    on, MLCommons' checker also runs. Each finding has its rule, line and remedy. Exits with 1 if there are any.
    """
    if division not in (None, *get_args(Division)):
        raise UsageError(f"--division {division}: choose closed, open or outOfTheBox")
    rounds = load_rounds()
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
                    "state": str(log.verdict.state) if log.verdict else "",
                    "reason": str(log.verdict.reason) if log.verdict else "",
                    "findings": [finding.document() for finding in log.findings],
                }
                for log in checked
            ]
        )
    else:
        out = console()
        print_findings(out, (finding for log in checked for finding in log.findings))
        logs = [log for log in checked if log.verdict]
        bad = sum(bool(log.findings) for log in logs)
        clean = "findings about the result" if any(each.findings for each in checked) else "no findings"
        by = Counter(f"{log.round or 'an unknown round'} {log.benchmark}" for log in logs)
        rules = ", ".join(f"{count} of {name}" for name, count in by.items())
        counted = f"{len(logs)} log{'' if len(logs) == 1 else 's'}"
        print_line(out, f"{counted} ({rules}): {f'{bad} with findings' if bad else clean}")
    raise typer.Exit(1 if any(log.findings for log in checked) else 0)
