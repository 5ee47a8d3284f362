"""``podium score``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from podium.cli.output import Json, console, print_findings, print_json, print_line, table
from podium.cli.places import Place, RoundOption, score_place
from podium.cli.times import unit_for
from podium.submissions import ScoredResult, rate_of

_RATE = "Samples/s/chip"


def score(path: Place, round_: RoundOption = None, as_json: Json = False) -> None:
    """Score the logs of a benchmark, a system, a submitter or a round.

    Drops the fastest and slowest attempts according to the round's rules, counts failed attempts as the slowest,
    applies scaling.json, and reports what is wrong. Samples per second and chip are those of training alone, without
    the first block and evaluations. Exits with 1 if there are any findings.
    """
    entries = score_place(path, round_)
    if as_json:
        print_json([_document(entry) for entry in entries])
    else:
        out = console()
        print_scores(out, entries)
        for entry in entries:
            for note in entry.notes:
                print_line(out, f"{entry.path or entry.benchmark}: {note}", "dim")
        print_findings(out, (finding for entry in entries for finding in entry.findings))
    raise typer.Exit(1 if any(entry.findings for entry in entries) else 0)


def _document(entry: ScoredResult) -> dict[str, Any]:
    rate = rate_of(entry)
    return {**entry.document(), "rate": rate.document() if rate else None}


def print_scores(out: Console, entries: Sequence[ScoredResult]) -> None:
    """Print a table for each submitter of each round."""
    for (name, org), group in groupby(entries, key=lambda e: (e.round, e.org)):
        out.print(_table(f"{name or 'unknown round'}  {org}", list(group)))
        out.print()


def _table(title: str, entries: Sequence[ScoredResult]) -> Table:
    """A table of scores. Failures, scaling and rates get a column only if there are any, so that it fits 80 columns."""
    unit = unit_for(e.minutes for e in entries)
    failed = ["Failed"] if any(e.score.failures for e in entries) else []
    scaled = ["Scaling"] if any(e.scaling != 1 for e in entries) else []
    rates = [rate_of(e) for e in entries]
    rated = [_RATE] if any(rates) else []
    numbers = ("Attempts", *failed, *scaled, *rated, "CV", unit.heading)
    made = table("System", "Benchmark", *numbers, "", right=numbers, title=title)
    for e, rate in zip(entries, rates, strict=True):
        cells = {
            "Attempts": str(len(e.verdicts)),
            "Failed": str(e.score.failures or ""),
            "Scaling": "" if e.scaling == 1 else f"{e.scaling:.4f}",
            _RATE: rate.text if rate else "",
            "CV": "" if (cv := e.score.coefficient_of_variation) is None else f"{cv:.1%}",
            unit.heading: unit.number(e.minutes),
        }
        measured = e.samples_per_second
        official = "" if e.score.official else "invalid" if not e.score.valid else "not official"
        said = f"{measured:.5g} samples/s" if measured else official
        shown = [cells[heading] for heading in numbers]
        made.add_row(e.system, e.benchmark, *shown, said, style="" if e.score.valid or measured else "red")
    return made
