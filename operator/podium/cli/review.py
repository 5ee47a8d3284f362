"""``podium review``."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from podium.cli.errors import UsageError
from podium.cli.keys import KeyOption, public_key_in
from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import RoundOption, asked_round, nothing_below, store_at
from podium.cli.score import print_scores
from podium.mlcommons import MissingCheckerError
from podium.rounds import load_rounds
from podium.stores import StoreError
from podium.submissions import (
    ReviewedResult,
    convergence_of_entry,
    energy_joules,
    gather,
    is_closed,
    platform_note,
    provenance,
    unfinished,
)
from podium.submissions import review as findings_of

if TYPE_CHECKING:
    from podium.results.signature import PublicKey


def review(
    package: Annotated[str, typer.Argument(metavar="PACKAGE", help="Folder or URL of a package or of results.")],
    round_: RoundOption = None,
    key: KeyOption = None,
    as_json: Json = False,
) -> None:
    """Review a package: recompute scores, recheck every log.

    Finds claims that the logs contradict, missing and repeated attempts, repeated seeds, truncated and edited logs,
    hyperparameters that the closed division forbids and, from v1.0 on, attempts that converge faster than the reference
    convergence points allow. Exits with 1 if there are any findings.
    """
    rounds = load_rounds()
    public = public_key_in(key)
    try:
        store = store_at(package)
        parts = list(gather([store], rounds, asked_round(round_, rounds)))
        findings = [*findings_of(parts, public), *unfinished(store)]
    except (StoreError, MissingCheckerError) as error:
        raise UsageError(str(error)) from error
    if not parts and not findings:
        raise nothing_below(package)
    if as_json:
        scores = [
            {
                **part.entry.document(),
                "convergence": _convergence(part),
                "notes": [*part.entry.notes, *_more_notes(part, public)],
                "joules": {
                    str(index): round(joules) for index, joules in energy_joules(part.store, part.folder).items()
                },
            }
            for part in parts
        ]
        print_json({"scores": scores, "findings": [finding.document() for finding in findings]})
    else:
        out = console()
        print_scores(out, [part.entry for part in parts])
        for part in parts:
            where = part.folder.path or part.entry.benchmark
            for note in (_convergence(part)["message"], *part.entry.notes, *_more_notes(part, public)):
                print_line(out, f"{where}: {note}", "dim")
        print_findings(out, findings)
        results = f"{len(parts)} result{'' if len(parts) == 1 else 's'}"
        out.print(f"{results}, {len(findings) or 'no'} finding{'' if len(findings) == 1 else 's'}")
    raise typer.Exit(1 if findings else 0)


def _convergence(part: ReviewedResult) -> dict[str, Any]:
    """How the result compares with the reference convergence points, or why it is not compared."""
    if not is_closed(part.folder):
        return {"passed": None, "message": "reference convergence points do not apply to open results", "scaling": None}
    return asdict(convergence_of_entry(part.entry))


def _more_notes(part: ReviewedResult, key: PublicKey | None) -> list[str]:
    """Sentences on the platform that the logs name, the energy of the scored attempts, and where the result is from."""
    joules = energy_joules(part.store, part.folder)
    scored = [joules[index] for index in part.entry.score.scored if index in joules]
    energy = f"{statistics.fmean(scored) / 1e6:.4g} MJ on average of {len(scored)} scored attempts" if scored else ""
    known = provenance(part.store, part.folder.own, len(part.entry.score.scored), key) if part.folder.result else None
    origin = f"{known.signed}; {known.ledger}; {known.tries}" if known else ""
    return [note for note in (platform_note(part.folder), energy, origin) if note]
