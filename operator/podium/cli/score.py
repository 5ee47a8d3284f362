"""``podium score``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import typer
from rich.console import Console
from rich.table import Table

from podium.cli.output import Json, console, print_findings, print_json, print_line, table
from podium.cli.places import Place, RoundOption, score_place
from podium.submissions import ScoredResult


def score(path: Place, round_: RoundOption = None, as_json: Json = False) -> None:
    """Score published logs: a benchmark's folder, a system, a submitter or a whole round.

    Drops the fastest and the slowest run as the round's rules say, counts failed runs as the slowest, applies
    scaling.json, and names what is wrong. Exit code 1 when anything is.
    """
    entries = score_place(path, round_)
    if as_json:
        print_json([entry.document() for entry in entries])
    else:
        out = console()
        print_scores(out, entries)
        for entry in entries:
            for note in entry.notes:
                print_line(out, f"{entry.path or entry.benchmark}: {note}", "dim")
        print_findings(out, (finding for entry in entries for finding in entry.findings))
    raise typer.Exit(1 if any(entry.findings for entry in entries) else 0)


def print_scores(out: Console, entries: Sequence[ScoredResult]) -> None:
    """A table for each submitter of each round."""
    for (name, org), group in groupby(entries, key=lambda e: (e.round, e.org)):
        out.print(_table(f"{name or 'unknown round'}  {org}", list(group)))
        out.print()


def _table(title: str, entries: Sequence[ScoredResult]) -> Table:
    numbers = ("Runs", "Failed", "Scaling", "CV", "Minutes")
    made = table("System", "Benchmark", *numbers, "", right=numbers, title=title)
    for e in entries:
        cv = e.score.coefficient_of_variation
        made.add_row(
            e.system,
            e.benchmark,
            str(len(e.verdicts)),
            str(e.score.failures or ""),
            "" if e.scaling == 1 else f"{e.scaling:.4f}",
            "" if cv is None else f"{cv:.1%}",
            "-" if e.minutes is None else f"{e.minutes:.3f}",
            "" if e.score.official else "invalid" if not e.score.valid else "not official",
            style="" if e.score.valid else "red",
        )
    return made
