"""``podium gate``."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from podium.cli.errors import UsageError
from podium.cli.output import Json, console, print_json, print_line
from podium.cli.pages import write_page
from podium.cli.places import FOLDER_OR_URL, score_place
from podium.submissions import GateCheck, Quantity, gate_on_baseline, gate_on_history

_UNDECIDED = 3  # exit code, as of `compare`
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%")
_WORDS = {True: ("passed", "green"), False: ("FAILED", "bold red"), None: ("undecided", "yellow")}


def gate(
    new: Annotated[str, typer.Argument(metavar="NEW", help=f"{FOLDER_OR_URL} of the new result.")],
    history: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Folder or URL below which earlier results are.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Folder or URL of the one result to compare with.")
    ] = None,
    max_slowdown: Annotated[str, typer.Option(help="By how much longer it may take, such as 3%.")] = "3%",
    of: Annotated[
        Literal["rate", "time-to-train"], typer.Option(help="What is compared; rate is seconds per sample or epoch.")
    ] = "rate",
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the checks as JUnit XML.")] = None,
    ctrf: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the checks as CTRF JSON.")] = None,
    as_json: Json = False,
) -> None:
    """Accept or refuse a new result, by how fast earlier ones were.

    With --history, each benchmark is compared with the earlier results of the same round, system, chips and batch size
    since their level last changed; with --baseline, with one result, attempt by attempt. Exits with 0 if it is no
    slower than --max-slowdown allows, with 1 if it is slower, and with 3 if its 95 % interval has both.
    """
    if (history is None) == (baseline is None):
        raise UsageError("name what to compare with: either --history or --baseline")
    limit, quantity = _ratio(max_slowdown), Quantity(of)
    results = score_place(new)
    if history is not None:
        checks = list(gate_on_history(results, score_place(history), quantity, limit))
    else:
        checks = list(gate_on_baseline(results, score_place(str(baseline)), quantity, limit))
    _write(checks, junit, ctrf)
    if as_json:
        print_json([check.document() for check in checks])
    else:
        out = console()
        for check in checks:
            word, style = _WORDS[check.passed]
            out.print(f"{word:9}", style=style, end=" ")
            print_line(out, f"{check.benchmark}, {check.name}: {check.sentence}")
    found = [check.passed for check in checks]
    raise typer.Exit(1 if False in found else _UNDECIDED if None in found or not found else 0)


def _ratio(text: str) -> float:
    """The ratio that a percentage is, such as 0.03. Raises UsageError."""
    match = _PERCENT.fullmatch(text.strip())
    ratio = float(match[1]) / 100 if match else 0.0
    if not 0 < ratio <= 1:
        raise UsageError(f"--max-slowdown {text}: expected a percentage above 0, such as 3%")
    return ratio


def _write(checks: list[GateCheck], junit: Path | None, ctrf: Path | None) -> None:
    from podium.report import pipelines  # noqa: PLC0415 - jinja2 is slow to load

    if junit:
        write_page(junit, pipelines.junit(checks), option="--junit")
    if ctrf:
        write_page(ctrf, pipelines.ctrf(checks, time.time()), option="--ctrf")
