"""``podium watch``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from podium.cli.cluster import ContextOption, NamespaceOption
from podium.cli.output import Json, console
from podium.cli.watch.following import follow
from podium.cli.watch.views import JsonView, ScreenView, View


def watch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The BenchmarkRun.")],
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    logs: Annotated[bool, typer.Option("--logs", help="Also show the output of rank 0.")] = False,
    as_json: Json = False,
) -> None:
    """Follow a run in the cluster: progress, time left, score.

    Uses the same cluster as kubectl. With --json, prints the whole status as one line whenever it changes, and with
    --logs also one line per log line. Exit code: 0 with a valid score, 1 without, 2 on a usage error.
    """
    view: View = JsonView() if as_json else ScreenView(console())
    try:
        ended = asyncio.run(follow(name, namespace, context, view, logs=logs))
    except KeyboardInterrupt:
        typer.echo(f"the run continues; to stop it: kubectl delete benchmarkrun {name}", err=True)
        raise typer.Exit(130) from None
    if ended is None:
        typer.echo(f"{name} was deleted before it ended", err=True)
        raise typer.Exit(1)
    view.conclude(ended)
    raise typer.Exit(0 if ended.status.score and ended.status.score.valid else 1)
