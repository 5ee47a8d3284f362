"""``podium variance``."""

from __future__ import annotations

from collections.abc import Mapping

import typer
from rich.console import Console
from rich.text import Text

from podium.cli.output import Json, console, print_findings, print_json, print_line
from podium.cli.places import Place, RoundOption, score_place
from podium.cli.times import unit_for
from podium.submissions import Variance
from podium.submissions import variance as variance_of

_BAR = 40  # length of the longest bar, in characters


def variance(path: Place, round_: RoundOption = None, as_json: Json = False) -> None:
    """Show how much convergence and time to train vary.

    Shows epochs to the target, time to train, and the confidence interval of the score. Exits with 1 if there is no
    valid score.
    """
    entries = score_place(path, round_)
    found = [variance_of(entry) for entry in entries]
    if as_json:
        print_json([each.document() for each in found])
    else:
        out = console()
        for each in found:
            _print(out, each)
        print_findings(out, (f for entry in entries if not entry.score.valid for f in entry.findings))
    raise typer.Exit(0 if all(entry.score.valid for entry in entries) else 1)


def _print(out: Console, found: Variance) -> None:
    e = found.entry
    unit = unit_for([e.minutes, found.minutes.mean if found.minutes else None])
    title = " ".join(part for part in (e.round, e.org, e.system, e.benchmark) if part)
    print_line(out, title, "bold")
    if found.epochs:
        _histogram(out, found.epochs.counts)
        out.print(f"  epochs to target   mean {found.epochs.mean:.1f}{_cv(found.epochs.variation)}")
    if found.minutes:
        out.print(f"  time to train      mean {unit.text(found.minutes.mean)}{_cv(found.minutes.variation)}")
    if e.minutes is not None:
        text = f"  score              {unit.text(e.minutes)}"
        if found.estimate and (near := found.interval):
            text += (
                f", 95 % between {unit.number(near.low)} and {unit.text(near.high)} (+-{found.estimate.relative:.1%})"
            )
        out.print(text)
    if e.score.failures:
        out.print(f"  did not converge   {e.score.failures} of {len(e.verdicts)} attempts")
    if found.runs_needed:
        out.print(f"  for +-5 %          {found.runs_needed} attempts at this variation")
    out.print()


def _histogram(out: Console, counts: Mapping[float, int]) -> None:
    most = max(counts.values())
    width = max(len(f"{value:g}") for value in counts)
    for value, count in counts.items():
        bar = "█" * max(1, round(count * _BAR / most)) if most > _BAR else "█" * count
        out.print(Text(f"  {value:>{width}g} ").append(bar, style="cyan").append(f" {count}"))


def _cv(variation: float | None) -> str:
    return "" if variation is None else f", coefficient of variation {variation:.1%}"
