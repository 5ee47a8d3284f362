"""``podium review``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from podium.cli.files import UsageError
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import RoundOption, asked_round, nothing_below, store_at
from podium.cli.score import print_scores
from podium.mlcommons import MissingCheckerError
from podium.rounds import load_all_rounds
from podium.stores import StoreError
from podium.submissions import ReviewedResult, convergence_of_entry, gather, is_closed
from podium.submissions import review as findings_of


def review(
    package: Annotated[str, typer.Argument(metavar="PACKAGE", help="Folder or URL of a package or of results.")],
    round_: RoundOption = None,
    as_json: Json = False,
) -> None:
    """Review results: recompute every score, check every log again, and hold the package to its own claims.

    Looks for missing and repeated runs, repeated seeds, truncated and edited logs, hyperparameters that the closed
    rules forbid, and, from v1.0 on, runs that converge faster than the reference convergence points allow. Exit
    code 1 when there is anything to ask.
    """
    rounds = load_all_rounds()
    try:
        parts = list(gather([store_at(package)], rounds, asked_round(round_, rounds)))
        findings = list(findings_of(parts))
    except (StoreError, MissingCheckerError) as error:
        raise UsageError(str(error)) from error
    if not parts:
        raise nothing_below(package)
    if as_json:
        scores = [{**part.entry.document(), "convergence": _convergence(part)} for part in parts]
        print_json({"scores": scores, "findings": [finding.document() for finding in findings]})
    else:
        out = console()
        print_scores(out, [part.entry for part in parts])
        for part in parts:
            where = part.folder.path or part.entry.benchmark
            print_line(out, f"{where}: {_convergence(part)['message']}", "dim")
        print_findings(out, findings)
        out.print(
            f"{len(parts)} results, {len(findings)} findings" if findings else f"{len(parts)} results, no findings"
        )
    raise typer.Exit(1 if findings else 0)


def _convergence(part: ReviewedResult) -> dict[str, Any]:
    """How the entry compares with the reference convergence points, or why it is not compared."""
    if not is_closed(part):
        return {"passed": None, "message": "open results are not held to reference convergence points", "scaling": None}
    return asdict(convergence_of_entry(part.entry))
