"""What a person sees of a run: its progress while it lasts, its table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from podium.api import AttemptState, AttemptStatus, Condition, Reason, TryId
from podium.cli.output import table
from podium.reconcile import Observed, ObservedLog, Run, finish_time

_STYLES = {
    AttemptState.CONVERGED: "green",
    AttemptState.NOT_CONVERGED: "yellow",
    AttemptState.INVALID: "red",
    AttemptState.FAILED: "red",
    AttemptState.ABORTED: "yellow",
}


class Display:
    """Shows a run as it goes: live on a terminal, a line for each event elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._printed: set[str] = set()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, screen: RenderableType, lines: Iterable[str]) -> None:
        """The screen takes the place of the last one; of the lines those are printed that were not yet."""
        if self._live:
            self._live.update(screen, refresh=True)
        else:
            for line in lines:
                if line not in self._printed:
                    self._printed.add(line)
                    self.print(line)

    def print(self, line: str, style: str = "") -> None:
        """A line that stays: above the screen of a terminal."""
        self._console.print(line, style=style, markup=False, soft_wrap=True)


def local_screen(run: Run, observed: Observed) -> RenderableType:
    """A run on this machine."""
    parts: list[RenderableType] = [attempts_table(run, set())]
    if observed.store_error:
        parts.append(Text(f"not stored yet: {observed.store_error}", style="red"))
    if run.status.attempts and run.status.progress:
        parts.append(_progress(run, run.status.attempts[-1], observed))
    return Group(*parts)


def print_result(console: Console, run: Run, place: str) -> None:
    """The table of all attempts, the score, and where the result lies."""
    score = run.status.score
    dropped = set(score.dropped) if score else set()
    console.print(attempts_table(run, dropped))
    if score and score.time_to_train_minutes:
        cv = (
            f", coefficient of variation {float(score.coefficient_of_variation):.1%}"
            if score.coefficient_of_variation
            else ""
        )
        minutes = float(score.time_to_train_minutes)
        console.print(Text(f"Score: {minutes:.3f} min ({minutes * 60:.1f} s) time to train{cv}", style="bold"))
    else:
        console.print(Text("No score", style="bold red"))
    if score:
        for reason in score.reasons:
            console.print(f"  {reason}", markup=False, soft_wrap=True)
    failed = next((c for c in run.status.conditions if c.type == "Failed" and c.status == "True"), None)
    if failed:
        console.print(f"Failed: {failed.reason}: {failed.message}", style="red", markup=False, soft_wrap=True)
        if remedy := _remedy(run, failed):
            console.print(f"What to do: {remedy}", markup=False, soft_wrap=True)
    if run.status.result:
        console.print(f"Result: {place}", markup=False, soft_wrap=True)


def _remedy(run: Run, failed: Condition) -> str:
    """What to do about a failed run: by the reason of its last unsuccessful attempt, else by its own."""
    unsuccessful = [a for a in run.status.attempts if a.state.finished and a.state is not AttemptState.CONVERGED]
    word = unsuccessful[-1].reason if unsuccessful else failed.reason
    reason = Reason.known(word)
    return reason.do if reason else ""


def attempts_table(run: Run, dropped: set[int], last: int | None = None) -> Table:
    """Every try that was made, or the `last` ones; those left out of the score are marked."""
    title = f"{run.name}: {run.spec.round} {run.spec.benchmark}, {run.spec.division} division"
    numbers = ("Epochs", "Quality", "Time")
    made = table("Attempt", "Seed", "State", *numbers, "", right=numbers, title=title)
    left_out = _left_out(run.status.attempts, dropped)
    for a in run.status.attempts[-(last or 0) :]:
        failed = a.state.finished and a.state is not AttemptState.CONVERGED
        mark = left_out.get(a.id) or (a.reason if failed else "") or ""
        seconds = f"{float(a.time_to_train_seconds):.2f} s" if a.time_to_train_seconds else ""
        name = f"{a.index}" + (f" retry {a.try_}" if a.try_ else "")
        state = Text(str(a.state), style=_STYLES.get(a.state, ""))
        made.add_row(
            name, str(a.seed), state, a.epochs or "", a.quality or "", seconds, mark, style="dim" if mark else ""
        )
    return made


def _left_out(attempts: Sequence[AttemptStatus], dropped: set[int]) -> dict[TryId, str]:
    """Why the `dropped` attempts are left out of the score: said at the try that counted, the last one."""
    counted = {a.index: a for a in attempts if a.index in dropped}
    times = {a.index: float(a.time_to_train_seconds) for a in counted.values() if a.time_to_train_seconds}
    converged = [index for index in times if counted[index].state is AttemptState.CONVERGED]
    fastest = min(converged, key=lambda index: times[index], default=None)
    return {a.id: f"dropped: {'fastest' if a.index == fastest else 'slowest'}" for a in counted.values()}


def _progress(run: Run, last: AttemptStatus, observed: Observed) -> RenderableType:
    progress = run.status.progress
    assert progress is not None
    summary = observed.logs.get(last.id, ObservedLog()).summary
    whole = (summary.train_samples or 0) * (summary.max_epochs or 0)
    bar = ProgressBar(total=whole or 1, completed=min(summary.samples or 0, whole) if whole else 0, width=30)
    finish = finish_time(summary)
    eta = (
        f"at most {max(0.0, finish - time.time()):.0f} s left" if finish and last.state is AttemptState.TRAINING else ""
    )
    facts = [
        f"attempt {progress.attempt}",
        str(last.state).lower(),
        f"epoch {progress.epoch}" if progress.epoch else "",
        f"quality {progress.quality or '-'} of {progress.target}",
        f"{progress.throughput} samples/s" if progress.throughput else "",
        eta,
    ]
    grid = Table.grid(padding=(0, 1))
    grid.add_row(bar, "  ".join(fact for fact in facts if fact))
    return grid


def local_lines(run: Run, observed: Observed) -> list[str]:
    """Everything worth a line, from the first attempt on; those printed before are passed over by the caller."""
    lines = [f"not stored yet: {observed.store_error}"] if observed.store_error else []
    for a in run.status.attempts:
        summary = observed.logs.get(a.id, ObservedLog()).summary
        lines.append(f"{a.id}: started with seed {a.seed}")
        start = summary.run_start or 0.0
        for e in summary.evaluations:
            epoch = f"epoch {e.epoch:g}: " if e.epoch is not None else ""
            quality = "/".join(f"{value:.4g}" for value in e.quality.values())
            target = run.status.progress.target if run.status.progress else ""
            lines.append(f"{a.id}: {epoch}quality {quality} of {target} after {e.time - start:.1f} s")
        if a.state.finished:
            lines.append(f"{a.id}: {a.state}: {a.message}")
    return lines
