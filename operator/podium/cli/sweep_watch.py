"""Follow a sweep in the cluster: a line for each change, or the whole status as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.text import Text

from podium.api import Condition
from podium.api.sweep import BenchmarkSweepStatus, SweepCounts, SweepRow
from podium.cli.cluster import SWEEPS, cluster
from podium.cli.output import print_line, table
from podium.kube import Object, Outage, watch_run
from podium.text import json_text

_WORDS = ("running", "ok", "slow", "failed", "unsure")
_SURE = ("Slow", "Failed")  # a row gets a line of its own when it is known to be bad
_STYLES = {"Slow": "red", "Failed": "red", "Unsure": "yellow"}
_SHOWN = 20  # rows in the table at the end


@dataclass(frozen=True, slots=True)
class SeenSweep:
    """A BenchmarkSweep as last read."""

    namespace: str
    name: str
    generation: int
    status: BenchmarkSweepStatus

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more; a spec that was corrected after a failure is tried again."""
        status = self.status
        return status.complete or (status.ended and status.observed_generation == self.generation)

    @property
    def all_ok(self) -> bool:
        """Whether every row is surely good."""
        return self.status.complete and bool(self.status.rows) and self.status.counts.ok == len(self.status.rows)


def read_seen(body: Object) -> SeenSweep:
    """Read a sweep from the API server. Raises ValidationError."""
    metadata = body["metadata"]
    status = BenchmarkSweepStatus.model_validate(body.get("status") or {})
    return SeenSweep(metadata["namespace"], metadata["name"], metadata["generation"], status)


class SweepView:
    """Where a sweep is shown."""

    def __init__(self, out: Console, *, as_json: bool) -> None:
        self._out = out
        self._as_json = as_json
        self._before: BenchmarkSweepStatus | None = None
        self._named: set[tuple[str, str]] = set()  # rows that have had their line, with their verdict
        self._outage = False

    def changed(self, sweep: SeenSweep) -> None:
        """The sweep has a new status."""
        if self._as_json:
            status = sweep.status.model_dump(mode="json", by_alias=True, exclude_none=True)
            typer.echo(
                json_text({"event": "status", "namespace": sweep.namespace, "name": sweep.name, "status": status})
            )
            return
        if self._outage:
            self._print("the API server responds again")
        for row in sweep.status.rows:
            if row.verdict in _SURE and (row.name, row.verdict) not in self._named:
                self._named.add((row.name, row.verdict))
                self._print(row_text(row))
        line = progress(sweep.status)
        if self._before is None or line != progress(self._before):
            self._print(line)
        self._before, self._outage = sweep.status, False

    def outage(self, message: str) -> None:
        """The API server does not answer."""
        if self._as_json:
            typer.echo(json_text({"event": "outage", "message": message}))
        elif not self._outage:
            self._outage = True
            self._print(f"the API server does not answer, retrying: {message}")

    def conclude(self, sweep: SeenSweep) -> None:
        """The sweep has ended."""
        if self._as_json:
            return
        outliers = [row for row in sweep.status.rows if row.verdict != "Ok"]
        if outliers:
            self._out.print(_table(outliers))
        if len(outliers) > _SHOWN:
            self._print(f"and {len(outliers) - _SHOWN} more")
        if result := sweep.status.result:
            self._print(f"Result: {result.uri}")

    def _print(self, line: str) -> None:
        print_line(self._out, line)


async def follow_sweep(name: str, namespace: str | None, context: str | None, view: SweepView) -> SeenSweep | None:
    """Show the sweep until it ends, and return it; None if it was deleted before.

    Raises UsageError if it cannot be watched at all.
    """
    async with (
        cluster(context, SWEEPS, namespace, name) as (api, found),
        aclosing(watch_run(api, SWEEPS.resource, found, name, read_seen)) as seen,
    ):
        async for sweep in seen:
            if isinstance(sweep, Outage):
                view.outage(sweep.message)
                continue
            view.changed(sweep)
            if sweep.ended:
                return sweep
    return None


def progress(status: BenchmarkSweepStatus) -> str:
    """How far a sweep is, in a line."""
    condition = next((c for c in status.conditions if c.status == "True"), None) or _condition(status, "Complete")
    if condition is None:
        return "waiting for the operator"
    if condition.status == "True":
        why = condition.message if condition.type == "Complete" else f"{condition.reason}: {condition.message}"
        return f"{condition.type}: {why}"
    return ": ".join(filter(None, (condition.message, _in_words(status.counts))))


def row_text(row: SweepRow) -> str:
    """A row and its verdict, in a line."""
    return ": ".join(filter(None, (row.name, row.verdict, row.reason)))


def _condition(status: BenchmarkSweepStatus, kind: str) -> Condition | None:
    return next((condition for condition in status.conditions if condition.type == kind), None)


def _in_words(counts: SweepCounts) -> str:
    found = ((getattr(counts, word), word) for word in _WORDS)
    return ", ".join(f"{number} {word}" for number, word in found if number)


def _table(rows: Sequence[SweepRow]) -> object:
    made = table("Row", "Verdict", "Rate", "Deviation", "Reason", right=("Rate", "Deviation"))
    order = ("Failed", "Slow")
    for row in sorted(rows, key=lambda row: order.index(row.verdict) if row.verdict in order else len(order))[:_SHOWN]:
        verdict = Text(row.verdict, style=_STYLES.get(row.verdict, ""))
        made.add_row(row.name, verdict, row.rate or "", _percent(row.deviation), row.reason or "")
    return made


def _percent(deviation: str | None) -> str:
    """A deviation in percent; as it is if it is not a number, which no operator writes."""
    try:
        return f"{100 * float(deviation):+.1f} %" if deviation else ""
    except ValueError:
        return str(deviation)
