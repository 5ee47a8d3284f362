"""How commands print: a document for programs, aligned tables for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from podium.rules import Finding

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def console() -> Console:
    """Standard output, in colour where it is a terminal."""
    return Console(highlight=False)


def print_json(document: Any) -> None:
    """One document on standard output; a number that JSON cannot hold would be a fault of ours."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def table(*headings: str, right: Iterable[str] = (), title: str | None = None) -> Table:
    """A table whose columns `right` hold numbers. Long texts are folded, never cut."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        number = heading in right
        made.add_column(
            heading,
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold" if not number else "ellipsis",
        )
    return made


def print_findings(out: Console, findings: Iterable[Finding]) -> None:
    """Rule, place and sentence, then the remedy; what many logs have in common is said once."""
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.rule, finding.message, finding.remedy), []).append(finding)
    for (rule, message, remedy), places in alike.items():
        first = places[0]
        line = f":{first.line}" if first.line else ""
        others = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        out.print(f"[red]{rule}[/]", end="  ")
        out.print(f"{first.field}{line}: {message}{others}", markup=False, soft_wrap=True)
        if remedy:
            out.print(f"    {remedy}", markup=False, style="dim", soft_wrap=True)
