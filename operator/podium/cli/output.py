"""How commands print: JSON for programs, aligned tables for people.

All output goes through this module, because names and logs come from others: see `podium.text`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from podium.rules import Finding
from podium.text import json_text, one_line, printable

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


class PlainConsole(Console):
    """Prints text verbatim: brackets and colons are not markup, and no character controls the terminal."""

    def render_str(self, text: str, *, style: Any = "", **_: Any) -> Text:
        return Text(printable(text), style=style)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


class _PlainTable(Table):
    """A table whose plain-text cells are one line each."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*(one_line(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def console(*, stderr: bool = False) -> Console:
    """A console on standard output or standard error, in color on a terminal."""
    return PlainConsole(highlight=False, stderr=stderr)


def print_json(document: Any) -> None:
    """Print one document to standard output. A number that JSON cannot represent is a bug."""
    typer.echo(json_text(document, indent=2))


def print_line(out: Console, text: str, style: str = "") -> None:
    """Print one line, which a terminal may wrap."""
    out.print(one_line(text), style=style, soft_wrap=True)


def table(*headings: str, right: Iterable[str] = (), title: str | None = None) -> Table:
    """A table whose columns `right` hold numbers. Long text is wrapped, never cut off."""
    made = _PlainTable(
        title=None if title is None else one_line(title),
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for heading in headings:
        number = heading in right
        made.add_column(
            one_line(heading),
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold" if not number else "ellipsis",
        )
    return made


def print_findings(out: Console, findings: Iterable[Finding]) -> None:
    """Print each finding's rule, place and message, then its remedy. A finding that many logs share is printed once."""
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.rule, finding.message, finding.remedy), []).append(finding)
    for (rule, message, remedy), places in alike.items():
        first = places[0]
        line = f":{first.line}" if first.line else ""
        others = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        out.print(one_line(rule), style="red", end="  ")
        print_line(out, f"{first.field}{line}: {message}{others}")
        if remedy:
            print_line(out, f"    {remedy}", "dim")
