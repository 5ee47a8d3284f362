"""Where a followed run is shown: on a screen, or as one JSON document per line."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol, Self

import typer
from rich.console import Console
from rich.live import Live

from podium.api import BenchmarkRunStatus, TryId
from podium.cli.display import print_result
from podium.cli.output import print_line
from podium.cli.watch.events import events
from podium.cli.watch.screen import heartbeat, screen
from podium.mllog import is_mlperf_line
from podium.reconcile import Run
from podium.text import json_text

_HEARTBEAT_SECONDS = 60.0
_RECENT = 5  # events on the screen


class View(Protocol):
    """Where a run is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def changed(self, run: Run) -> None:
        """The run has a new status."""

    def tick(self) -> None:
        """Time has passed."""

    def line(self, of: TryId, text: str) -> None:
        """Rank 0 has printed a line."""

    def note(self, text: str, *, outage: bool = False) -> None:
        """Something besides the run needs attention."""

    def conclude(self, run: Run, place: str = "") -> None:
        """The run has ended. `place` is where its result is, if that is not the URI in its status."""


class ScreenView:
    """For a person: bars on a terminal; elsewhere a line for each event, and at least one per minute."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._live = Live(console=out, auto_refresh=False, transient=True) if out.is_terminal else None
        self._run: Run | None = None
        self._recent: deque[str] = deque(maxlen=_RECENT)
        self._outage = ""
        self._last_event = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def changed(self, run: Run) -> None:
        lines = events(self._run.status if self._run else BenchmarkRunStatus(), run.status)
        if self._outage:
            lines.insert(0, "the API server responds again")
        if self._run is None and not run.status.conditions and not self._live:
            lines.append("waiting for the operator")
        self._outage, self._run = "", run
        self._emit(lines)

    def tick(self) -> None:
        if self._run is None:
            return
        if self._live:
            self._live.update(screen(self._run, self._recent, time.time(), self._outage), refresh=True)
        elif time.monotonic() - self._last_event >= _HEARTBEAT_SECONDS:
            self._emit(filter(None, [heartbeat(self._run.status, time.time())]))

    def line(self, of: TryId, text: str) -> None:
        print_line(self._out, f"{of} | {text}", "" if is_mlperf_line(text) else "dim")

    def note(self, text: str, *, outage: bool = False) -> None:
        if outage and self._outage:
            return
        self._outage = text if outage else self._outage
        self._emit([f"the API server does not answer, retrying: {text}" if outage else text])

    def conclude(self, run: Run, place: str = "") -> None:
        print_result(self._out, run, place or (run.status.result.uri if run.status.result else ""))

    def _emit(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._last_event = time.monotonic()
            self._recent.append(line)
            if not self._live:
                print_line(self._out, line)


class JsonView:
    """For a program: one JSON document per line, as events arrive."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def changed(self, run: Run) -> None:
        status = run.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        self._print({"event": "status", "namespace": run.namespace, "name": run.name, "status": status})

    def tick(self) -> None:
        pass

    def line(self, of: TryId, text: str) -> None:
        self._print({"event": "log", "attempt": of.attempt, "try": of.number, "line": text})

    def note(self, text: str, *, outage: bool = False) -> None:
        self._print({"event": "outage" if outage else "note", "message": text})

    def conclude(self, run: Run, place: str = "") -> None:
        """Do nothing: the last status has everything."""

    @staticmethod
    def _print(event: dict[str, Any]) -> None:
        typer.echo(json_text(event))
