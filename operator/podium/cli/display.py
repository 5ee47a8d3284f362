"""The table of a run's attempts, and how a run ended."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from podium.api import AttemptState, AttemptStatus, Condition, ConditionType, Reason, Score, TryId
from podium.cli.output import print_line, table
from podium.cli.times import unit_for
from podium.reconcile import Run

_STYLES = {
    AttemptState.CONVERGED: "green",
    AttemptState.MEASURED: "green",
    AttemptState.NOT_CONVERGED: "yellow",
    AttemptState.INVALID: "red",
    AttemptState.FAILED: "red",
    AttemptState.ABORTED: "yellow",
}


def print_result(out: Console, run: Run, place: str) -> None:
    """The table of all attempts, the score, and where the result is stored."""
    score = run.status.score
    out.print(attempts_table(run, score))
    out.print()
    if score and score.valid:
        out.print(Text(f"Score: {score_text(score)}", style="bold"))
    else:
        out.print(Text("No score", style="bold red"))
    for reason in score.reasons if score else ():
        print_line(out, f"  {reason}")
    failed = run.status.condition(ConditionType.FAILED)
    if failed and failed.status == "True":
        print_line(out, f"Failed: {failed.reason}: {failed.message}", "red")
        if remedy := _remedy(run, failed):
            print_line(out, f"What to do: {remedy}")
    if run.status.result:
        print_line(out, f"Result: {place}")


def score_text(score: Score) -> str:
    """The rate, or the time to train (in seconds if below a minute) and its spread."""
    if score.rate:
        each = f" ({score.rate.per_accelerator} per accelerator)" if score.rate.per_accelerator else ""
        return f"{score.rate.samples_per_second} samples per second{each}"
    minutes = float(score.time_to_train_minutes or 0)
    spread = score.coefficient_of_variation
    cv = f", coefficient of variation {float(spread):.1%}" if spread else ""
    return f"{unit_for([minutes]).text(minutes)} time to train{cv}"


def _remedy(run: Run, failed: Condition) -> str:
    """What to do about a failed run, from the reason of its last unsuccessful attempt, else from its own."""
    unsuccessful = [a for a in run.status.attempts if a.state.finished and not a.state.succeeded]
    word = unsuccessful[-1].reason if unsuccessful else failed.reason
    reason = Reason.known(word)
    return reason.do if reason else ""


def attempts_table(run: Run, score: Score | None, last: int | None = None) -> Table:
    """All tries, or only the `last` few; those left out of the score are marked."""
    target = f", target {run.status.progress.target}" if run.status.progress and run.status.progress.target else ""
    title = f"{run.name}: {run.spec.round} {run.spec.benchmark}, {run.spec.division} division{target}"
    numbers = ("Epochs", "Quality", "Samples/s" if run.spec.measure else "Time")
    made = table("Attempt", "Seed", "State", *numbers, "", right=numbers, title=title)
    left_out = _left_out(run.status.attempts, score) if score else {}
    for a in run.status.attempts[-(last or 0) :]:
        failed = a.state.finished and not a.state.succeeded
        mark = left_out.get(a.id) or (a.reason if failed else "") or ""
        measured = f"{float(a.time_to_train_seconds):.2f} s" if a.time_to_train_seconds else a.samples_per_second or ""
        name = f"{a.index}" + (f" retry {a.try_}" if a.try_ else "")
        state = Text(str(a.state), style=_STYLES.get(a.state, ""))
        made.add_row(
            name, str(a.seed), state, a.epochs or "", a.quality or "", measured, mark, style="dim" if mark else ""
        )
    return made


def _left_out(attempts: Sequence[AttemptStatus], score: Score) -> dict[TryId, str]:
    """Why an attempt is left out of the score, keyed by its last try, the one that counted."""
    last = {a.index: a for a in attempts}
    beside = [a for index, a in last.items() if score.designated and index not in score.designated]
    counted = {index: a for index, a in last.items() if index in score.dropped}
    times = {a.index: float(a.time_to_train_seconds) for a in counted.values() if a.time_to_train_seconds}
    converged = [index for index in times if counted[index].state is AttemptState.CONVERGED]
    fastest = min(converged, key=lambda index: times[index], default=None)
    dropped = {a.id: f"dropped: {'fastest' if a.index == fastest else 'slowest'}" for a in counted.values()}
    return {**dropped, **{a.id: f"not among the {len(score.designated)} that count" for a in beside}}
