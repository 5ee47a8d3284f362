"""``podium watch``."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import Annotated, Any, Protocol, Self

import typer
from rich.console import Console

from podium.api import BenchmarkRunStatus, TryId
from podium.cli.display import Display, print_result
from podium.cli.output import Json, console
from podium.cli.watch.screen import document, heartbeat, news, screen
from podium.mllog import is_mlperf_line
from podium.reconcile import Run
from podium.text import json_text

_HEARTBEAT_SECONDS = 60.0
_RECENT = 5  # lines of news on the screen


def watch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The BenchmarkRun.")],
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Its namespace; the context's without it.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig; the current one without it.")] = None,
    logs: Annotated[bool, typer.Option("--logs", help="Print what rank 0 prints, too.")] = False,
    as_json: Json = False,
) -> None:
    """Follow a run in the cluster until it has ended: progress, quality, time left, changes of state, the score.

    The cluster is the one that kubectl would use. With --json every change is one line: a document with the run's whole
    status, with --logs also one for each line of the log. Exit code 0 for a valid score, 1 for none, 2 for wrong use.
    """
    from podium.cli.watch.following import follow  # noqa: PLC0415 - the client of the API server is slow to load

    view: View = JsonView() if as_json else ScreenView(console())
    try:
        ended = asyncio.run(follow(name, namespace, context, view, logs=logs))
    except KeyboardInterrupt:
        typer.echo(f"the run goes on; it is not stopped by this: kubectl delete benchmarkrun {name}", err=True)
        raise typer.Exit(130) from None
    if ended is None:
        typer.echo(f"{name} was deleted before it had ended", err=True)
        raise typer.Exit(1)
    view.conclude(ended)
    raise typer.Exit(0 if ended.status.score and ended.status.score.valid else 1)


class View(Protocol):
    """Where a run is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def changed(self, run: Run) -> None:
        """The run has a new status."""

    def tick(self) -> None:
        """Time has passed."""

    def line(self, of: TryId, text: str) -> None:
        """Rank 0 has printed."""

    def note(self, text: str, *, outage: bool = False) -> None:
        """Something other than the run is to be told."""

    def conclude(self, run: Run) -> None:
        """The run has ended."""


class ScreenView:
    """For a person: bars on a terminal, plain lines elsewhere."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._display = Display(out)
        self._run: Run | None = None
        self._recent: deque[str] = deque(maxlen=_RECENT)
        self._outage = ""
        self._told_at = time.monotonic()

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.__exit__(None, None, None)

    def changed(self, run: Run) -> None:
        before = self._run.status if self._run else BenchmarkRunStatus()
        lines = news(before, run.status)
        if self._outage:
            lines.insert(0, "the API server answers again")
        if self._run is None and not run.status.conditions and not self._out.is_terminal:
            lines.append("waits for the operator")
        self._outage, self._run = "", run
        self._tell(lines)

    def tick(self) -> None:
        if self._run is None:
            return
        if self._out.is_terminal:
            self._display.show(screen(self._run, self._recent, time.time(), self._outage), ())
        elif time.monotonic() - self._told_at >= _HEARTBEAT_SECONDS:
            self._tell(filter(None, [heartbeat(self._run.status, time.time())]))

    def line(self, of: TryId, text: str) -> None:
        self._display.print(f"{of} | {text}", style="" if is_mlperf_line(text) else "dim")

    def note(self, text: str, *, outage: bool = False) -> None:
        if outage and self._outage:
            return
        self._outage = text if outage else self._outage
        self._tell([f"the API server does not answer, trying again: {text}" if outage else text])

    def conclude(self, run: Run) -> None:
        print_result(self._out, run, run.status.result.uri if run.status.result else "")

    def _tell(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._told_at = time.monotonic()
            self._recent.append(line)
            if not self._out.is_terminal:
                self._display.print(line)


class JsonView:
    """For a program: one document a line, as it comes."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def changed(self, run: Run) -> None:
        self._print(document(run))

    def tick(self) -> None:
        pass

    def line(self, of: TryId, text: str) -> None:
        self._print({"event": "log", "attempt": of.attempt, "try": of.number, "line": text})

    def note(self, text: str, *, outage: bool = False) -> None:
        self._print({"event": "outage" if outage else "note", "message": text})

    def conclude(self, run: Run) -> None:
        """The last status has told everything."""

    @staticmethod
    def _print(event: dict[str, Any]) -> None:
        typer.echo(json_text(event))
