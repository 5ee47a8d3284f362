"""``podium compare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from podium.cli.errors import UsageError
from podium.cli.output import Json, console, print_findings, print_json, print_line, table
from podium.cli.pages import write_page
from podium.cli.places import FOLDER_OR_URL, score_place
from podium.cli.times import unit_for
from podium.scoring import TOLERANCE, Expectation
from podium.submissions import Comparison, PairAnswer, Quantity, ScoredResult, as_expected
from podium.submissions import compare as compare_entries
from podium.submissions.comparison import Growth

_BAR = 24  # length of the longest bar, in characters
_UNDECIDED = 3  # exit code
_SIDE = f"{FOLDER_OR_URL} of a result, a submitter or a round."


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=_SIDE)],
    b: Annotated[str, typer.Argument(metavar="B", help=_SIDE)],
    same_chips: Annotated[bool, typer.Option("--same-chips", help="Show only speed-ups at equal chip counts.")] = False,
    scale: Annotated[
        bool, typer.Option("--scale", help="Show only the growth of the fastest and of the largest system.")
    ] = False,
    chips: Annotated[
        list[str] | None, typer.Option(metavar="SYSTEM=N", help="Chip count that the logs do not contain; repeatable.")
    ] = None,
    across_targets: Annotated[
        bool, typer.Option("--across-targets", help="Compare even if a target or the clock changed, and say so.")
    ] = False,
    expect: Annotated[
        Expectation | None, typer.Option(help="Exit with 0 if B is that, 1 if it is not, 3 if it is undecided.")
    ] = None,
    of: Annotated[
        Quantity, typer.Option(help="Quantity that --expect is about; rate is seconds per sample or epoch.")
    ] = Quantity.TIME,
    tolerance: Annotated[
        float, typer.Option(min=0.0001, max=1, help="Relative difference that does not matter.")
    ] = TOLERANCE,
    out: Annotated[Path | None, typer.Option(help="SVG file to draw the comparison to.")] = None,
    as_json: Json = False,
) -> None:
    """Compare two results or rounds.

    Shows the speed-up of each benchmark at equal chip counts, and the growth of the fastest and of the largest system.
    Of each speed-up, says how sure it is and where it comes from: what was trained until the target, and how fast.
    Benchmarks whose target or clock changed in between are rejected. Exits with 1 if any are, or if nothing is
    comparable.
    """
    counts = _chip_counts(chips or ())
    before, after = (score_place(place) for place in (a, b))
    _require_systems(counts, [*before, *after])
    before, after = (_with_chip_counts(entries, counts) for entries in (before, after))
    found = compare_entries(before, after, across_targets=across_targets, tolerance=tolerance)
    if as_json:
        print_json(
            {
                "answers": [each.document() for each in found.answers],
                "speedUps": [each.document() for each in found.speed_ups] if same_chips or not scale else [],
                "growthOfFastest": (
                    [each.document() for each in found.growths_of_fastest] if scale or not same_chips else []
                ),
                "growth": [each.document() for each in found.growths] if scale or not same_chips else [],
                "findings": [finding.document() for finding in found.refused],
                "despite": [finding.document() for finding in found.despite],
                "notes": list(found.unmatched),
            }
        )
    else:
        _print(found, same_chips or not scale, scale or not same_chips)
    if out:
        _draw(out, found, (a, b), speed_ups=same_chips or not scale, growths=scale or not same_chips)
    compared = found.answers or found.speed_ups or found.growths or found.growths_of_fastest
    if found.refused or not compared:
        raise typer.Exit(1)
    held = as_expected(found.answers, expect, of) if expect else True
    raise typer.Exit(_UNDECIDED if held is None else 0 if held else 1)


def _draw(out: Path, found: Comparison, sides: tuple[str, str], *, speed_ups: bool, growths: bool) -> None:
    from podium.report import comparison_picture  # noqa: PLC0415 - jinja2 is slow to load

    before, after = _short_names(*sides)
    try:
        picture = comparison_picture(found, before, after, speed_ups=speed_ups, growths=growths)
    except ValueError as error:
        print_line(console(stderr=True), f"{out} was not written: {error}")
    else:
        write_page(out, picture)


def _short_names(a: str, b: str) -> tuple[str, str]:
    """The last path parts of both places, as many as needed to tell them apart."""
    one, other = a.rstrip("/").split("/"), b.rstrip("/").split("/")
    parts = next((n for n in range(1, max(len(one), len(other)) + 1) if one[-n:] != other[-n:]), 1)
    return "/".join(one[-parts:]), "/".join(other[-parts:])


def _print(found: Comparison, speed_ups: bool, growths: bool) -> None:
    out = console()
    if found.despite:
        out.print("NOT COMPARABLE under the rules; compared because of --across-targets:", style="bold red")
        print_findings(out, found.despite)
        out.print()
    marked = {finding.field for finding in found.despite}
    if speed_ups and found.speed_ups:
        _print_speed_ups(out, found, marked)
    if speed_ups:
        for pair in found.answers:
            _print_answer(out, pair, marked)
    if growths and found.growths_of_fastest:
        _print_growths(out, "The fastest system", found.growths_of_fastest, marked)
    if growths and found.growths:
        _print_growths(out, "The largest system", found.growths, marked)
    for sentence in found.unmatched:
        print_line(out, sentence, "dim")
    print_findings(out, found.refused)
    if found.refused:
        out.print("    --across-targets compares them anyway, and says so", style="dim")


def _print_speed_ups(out: Console, found: Comparison, marked: set[str]) -> None:
    unit = unit_for(minutes for s in found.speed_ups for minutes in (s.before.minutes, s.after.minutes))
    numbers = ("Chips", "Before", "After", "Speed-up")
    made = table("Benchmark", *numbers, "", right=numbers, title=f"{unit.heading} at equal chip counts")
    longest = max(each.factor for each in found.speed_ups)
    for s in found.speed_ups:
        name = f"{s.benchmark}{' *' if s.benchmark in marked else ''}"
        times = (unit.number(s.before.minutes), unit.number(s.after.minutes))
        made.add_row(name, str(s.chips or "?"), *times, f"{s.factor:.2f}x", _bar(s.factor / longest))
    out.print(made)
    out.print()


def _print_answer(out: Console, pair: PairAnswer, marked: set[str]) -> None:
    chips = f", {pair.chips} chips" if pair.chips else ""
    star = " *" if pair.benchmark in marked else ""
    numbers = ("Before", "After", "Ratio", "95 %")
    title = f"{pair.benchmark}{star}{chips}: {pair.before.system}, then {pair.after.system}"
    made = table("", *numbers, "", right=numbers, title=title)
    for row in pair.rows:
        ratio = row.ratio
        cells = ("", "", "", "")
        if ratio:
            cells = (
                f"{ratio.before.value:.4g}", f"{ratio.after.value:.4g}", f"{ratio.value:.3f}",
                f"{ratio.interval.low:.3f} to {ratio.interval.high:.3f}",
            )  # fmt: skip
        made.add_row(row.name, *cells, row.answer)
    out.print(made)
    print_line(out, pair.sentence, "bold")
    out.print()


def _print_growths(out: Console, title: str, growths: Sequence[Growth], marked: set[str]) -> None:
    numbers = ("Chips before", "After", "Growth", "Speed-up")
    made = table("Benchmark", *numbers, "", right=numbers, title=title)
    longest = max(each.chips_factor for each in growths)
    for g in growths:
        name = f"{g.benchmark}{' *' if g.benchmark in marked else ''}"
        sizes = (str(g.before.chips), str(g.after.chips), f"{g.chips_factor:.1f}x", f"{g.speed_up:.2f}x")
        made.add_row(name, *sizes, _bar(g.chips_factor / longest))
    out.print(made)
    out.print()


def _bar(ratio: float) -> Text:
    return Text("█" * max(1, round(ratio * _BAR)), style="cyan")


def _chips_of(text: str) -> tuple[str, int]:
    system, _, number = text.rpartition("=")
    if not system or not number.isdecimal() or int(number) < 1:
        raise UsageError(f"--chips {text}: expected SYSTEM=N, such as --chips dgx1_ngc18.11_mxnet=8")
    return system, int(number)


def _chip_counts(options: Sequence[str]) -> dict[str, int]:
    """Chips by system. Raises UsageError for a system that is named twice."""
    counts: dict[str, int] = {}
    for system, number in map(_chips_of, options):
        if counts.setdefault(system, number) != number:
            raise UsageError(f"--chips {system}={number}: it was {counts[system]} before; name each system once")
    return counts


def _require_systems(counts: Mapping[str, int], entries: Sequence[ScoredResult]) -> None:
    """Raise UsageError if a system in `counts` has no result."""
    known = sorted({entry.system for entry in entries})
    for system in counts:
        if system not in known:
            raise UsageError(
                f"--chips {system}={counts[system]}: no result is of this system; they are of {', '.join(known)}"
            )


def _with_chip_counts(entries: list[ScoredResult], counts: dict[str, int]) -> list[ScoredResult]:
    return [replace(entry, chips=counts.get(entry.system, entry.chips)) for entry in entries]
