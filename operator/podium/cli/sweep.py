"""``podium sweep start``, ``watch`` and ``report``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from podium.api.sweep import SWEEP_KIND, SweepResult
from podium.cli.cluster import SWEEPS, ContextOption, NamespaceOption, cluster
from podium.cli.errors import UsageError
from podium.cli.files import SpecError, parse_sweep, read_documents
from podium.cli.output import Json, console, print_line
from podium.cli.sweep_report import find_sweep, report_sweep
from podium.cli.sweep_watch import SweepView, follow_sweep, progress, read_seen
from podium.rounds import load_rounds
from podium.rules import check_sweep
from podium.text import json_text

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Judge nodes, node counts or variants of the cluster.",
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The BenchmarkSweep.")]


@app.command("start")
def start(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file with one or more BenchmarkSweeps.")],
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    as_json: Json = False,
) -> None:
    """Create the sweeps in a file; print their names.

    Checks them like podium validate first. Uses the same cluster as kubectl. Exit code: 0, or 2 if one cannot be
    created.
    """
    for document in _checked(file):
        metadata = asyncio.run(_create(document, file, namespace, context))
        if as_json:
            typer.echo(json_text({"namespace": metadata["namespace"], "name": metadata["name"]}))
        else:
            print_line(console(), metadata["name"])


@app.command("watch")
def watch(name: Name, namespace: NamespaceOption = None, context: ContextOption = None, as_json: Json = False) -> None:
    """Follow a sweep until it is complete.

    Prints a line for each change, and at the end a table of the rows that are not OK. With --json, prints the whole
    status as one line whenever it changes. Exit code: 0 if every row is OK, 1 if one is not or the sweep failed, 2 on
    a usage error.
    """
    view = SweepView(console(), as_json=as_json)
    try:
        ended = asyncio.run(follow_sweep(name, namespace, context, view))
    except KeyboardInterrupt:
        typer.echo(f"the sweep continues; to stop it: kubectl delete benchmarksweep {name}", err=True)
        raise typer.Exit(130) from None
    if ended is None:
        typer.echo(f"{name} was deleted before it ended", err=True)
        raise typer.Exit(1)
    view.conclude(ended)
    raise typer.Exit(0 if ended.all_ok else 1)


@app.command("report")
def report(
    name: Name,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; default: report.html in the current folder, or none with --json."),
    ] = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    as_json: Json = False,
) -> None:
    """Write an HTML report on a complete sweep.

    Like podium report with the URL in the sweep's status, and checks the digest there. Exits with 1 if something is
    wrong with the result; the report is written anyway.
    """
    result = asyncio.run(_result(name, namespace, context))
    found = find_sweep(result.uri)
    if found is None:
        raise UsageError(f"{result.uri}: no such file; restore it, or run the sweep again under another name")
    report_sweep(*found, out, as_json=as_json, sha256=result.sha256)


def _checked(file: Path) -> list[dict[str, Any]]:
    """The sweeps in a file. Raises UsageError if one has no name or would not be carried out."""
    documents = read_documents(file, (SWEEP_KIND,))
    for document in documents:
        metadata = document.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            raise UsageError(f"{file}: metadata.name is missing")
        if findings := check_sweep(parse_sweep(file, document), load_rounds()):
            raise SpecError(file, findings)
        try:
            json.dumps(document)
        except TypeError as error:  # a date of YAML
            raise UsageError(f"{file}: {error}; quote it") from error
    return documents


async def _create(document: dict[str, Any], file: Path, namespace: str | None, context: str | None) -> dict[str, Any]:
    """Create a sweep, and return its metadata."""
    metadata = document["metadata"]
    own = metadata.get("namespace")
    if own and namespace and own != namespace:
        raise UsageError(f"{file}: metadata.namespace is {own}, not {namespace}; leave --namespace out")
    async with cluster(context, SWEEPS, namespace or own, metadata["name"]) as (api, found):
        body = {**document, "metadata": {**metadata, "namespace": found}}
        created = await api.create(SWEEPS.resource, found, body)
        return dict(created["metadata"])


async def _result(name: str, namespace: str | None, context: str | None) -> SweepResult:
    """Where the result of a sweep is stored. Raises UsageError if there is none."""
    async with cluster(context, SWEEPS, namespace, name) as (api, found):
        sweep = read_seen(await api.get(SWEEPS.resource, found, name))
    if sweep.status.result is None:
        raise UsageError(
            f"{name} has no result yet ({progress(sweep.status)}); follow it with podium sweep watch {name}"
        )
    return sweep.status.result
