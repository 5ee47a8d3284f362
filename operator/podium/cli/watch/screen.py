"""The screen that shows a run in progress: pure functions of its status."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from podium.api import AttemptState, AttemptStatus, BenchmarkRunStatus, ConditionType, unix_seconds
from podium.cli.display import attempts_table
from podium.cli.times import duration
from podium.cli.watch.events import condition_text
from podium.reconcile import Run
from podium.text import one_line

_BAR = 24  # characters
_ROWS = 12  # the most tries on the screen
_ALMOST = 0.99  # the most that the bar of an unfinished attempt shows


def screen(run: Run, recent: Sequence[str], now: float, outage: str = "") -> RenderableType:
    """The whole screen: tries, bars, and the `recent` events. `now` is in unix seconds."""
    parts: list[RenderableType] = (
        [attempts_table(run, None, last=_ROWS)] if run.status.attempts else [one_line(run.name)]
    )
    if run.status.progress and run.status.current:
        parts += ["", _bars(run.status, run.status.current, now)]
    if run.status.forecast:
        style = "yellow" if run.status.forecast.likely_fails else "dim"
        parts.append(Text(one_line(run.status.forecast.message), style=style))
    running = run.status.condition(ConditionType.RUNNING)
    if running and running.status == "False" and not run.status.terminal:
        parts.append(Text(one_line(condition_text(running)), style="yellow"))
    elif not run.status.conditions:
        parts.append(Text("waiting for the operator", style="yellow"))
    if recent:
        parts += ["", *(Text(one_line(line), style="dim", no_wrap=True, overflow="ellipsis") for line in recent)]
    if outage:
        parts.append(Text(one_line(f"the API server does not answer, retrying: {outage}"), style="red"))
    return Group(*parts)


def _bars(status: BenchmarkRunStatus, shown: AttemptStatus, now: float) -> Table:
    progress = status.progress
    assert progress is not None
    grid = Table.grid(padding=(0, 1))
    _, _, planned = progress.attempt.partition("/")
    finished = _finished(status)
    left = run_seconds_left(status, now)
    about = f"  about {duration(left)} left" if left else ""
    grid.add_row("attempts", _bar(finished / max(1, int(planned or 1))), f"{finished} of {planned}{about}")
    grid.add_row(str(shown.id), _bar(attempt_ratio(status, now)), one_line("  ".join(_facts(status, shown, now))))
    quality = one_line(f"{progress.quality or '-'} of {progress.target or '?'}")
    grid.add_row("quality", _bar(float(progress.quality_ratio or 0)), quality)
    return grid


def _facts(status: BenchmarkRunStatus, shown: AttemptStatus, now: float) -> list[str]:
    """State, epoch, speed and time left of the attempt in progress, as far as known."""
    progress = status.progress
    since = shown.start_time if shown.state is AttemptState.TRAINING else shown.created_time
    ongoing = f" for {duration(max(0.0, now - unix_seconds(since)))}" if since and not shown.state.finished else ""
    if shown.time_to_train_seconds and not shown.state.finished:
        ongoing = ", clock stopped"  # its processes still have to end
    latest = seconds_until(progress.eta, now) if progress and progress.eta else 0.0
    more = sum(not attempt.state.finished for attempt in status.attempts) - 1
    facts = [
        f"{shown.state}{ongoing}",
        f"epoch {progress.epoch}" if progress and progress.epoch else "",
        f"{progress.throughput} samples/s" if progress and progress.throughput else "",
        f"at most {duration(latest)} left" if latest and _mean_seconds(status, now) is None else "",
        f"{more} more in progress" if more > 0 else "",
    ]
    return [fact for fact in facts if fact]


def _bar(ratio: float) -> ProgressBar:
    completed = min(1.0, max(0.0, ratio))
    return ProgressBar(total=1.0, completed=completed, width=_BAR, complete_style="cyan", finished_style="green")


def attempt_ratio(status: BenchmarkRunStatus, now: float) -> float:
    """The part of the attempt in progress that is over, from 0 to 1.

    It is estimated from the time that earlier attempts took; for the first attempt, from the time to its last epoch.
    """
    shown, mean = status.current, _mean_seconds(status, now)
    if shown is None:
        return 0.0
    if shown.state.finished:
        return 1.0
    if mean:
        return min(_ALMOST, (now - _created(status, shown.index)) / mean)
    eta = status.progress.eta if status.progress else None
    if shown.state is not AttemptState.TRAINING or shown.start_time is None or eta is None:
        return 0.0
    elapsed = now - unix_seconds(shown.start_time)
    whole = elapsed + seconds_until(eta, now)
    return min(_ALMOST, elapsed / whole) if whole > 0 else 0.0


def run_seconds_left(status: BenchmarkRunStatus, now: float) -> float | None:
    """Seconds until the last attempt ends, if each takes the mean time so far; None until the first has ended.

    None as well if several run at a time: how many depends on the machines that are free.
    """
    mean, running = _mean_seconds(status, now), _running(status)
    if mean is None or not status.progress or status.terminal:
        return None
    planned = int(status.progress.attempt.partition("/")[2] or 0)
    current = max(0.0, mean - (now - _created(status, running[0]))) if running else 0.0
    return max(0, planned - _finished(status) - len(running)) * mean + current


def _mean_seconds(status: BenchmarkRunStatus, now: float) -> float | None:
    """The mean time from the creation of an attempt to that of the next one; None until one has finished.

    None as well if several run at a time.
    """
    finished, running = _finished(status), _running(status)
    if finished < 1 or not all(a.created_time for a in status.attempts) or not _one_at_a_time(status):
        return None
    until = _created(status, running[0]) if running else now
    return (until - min(unix_seconds(a.created_time) for a in status.attempts)) / finished


def _one_at_a_time(status: BenchmarkRunStatus) -> bool:
    """Whether each attempt was created after the one before had ended, so that a mean says when the run ends."""
    return not any(
        not before.state.finished
        or unix_seconds(before.created_time) + float(before.time_to_train_seconds or 0)
        > unix_seconds(after.created_time)
        for before, after in pairwise(status.attempts)
        if before.index < after.index
    )


def _created(status: BenchmarkRunStatus, index: int) -> float:
    """Unix time at which the first try of an attempt was created."""
    return next(unix_seconds(a.created_time) for a in status.attempts if a.index == index)


def _running(status: BenchmarkRunStatus) -> list[int]:
    """The numbers of the attempts in progress."""
    return [a.index for a in status.attempts if not a.state.finished]


def _finished(status: BenchmarkRunStatus) -> int:
    """How many attempts have been made and are not in progress."""
    return len({a.index for a in status.attempts} - set(_running(status)))


def seconds_until(time: str, now: float) -> float:
    """Seconds from `now` to `time`; 0 if it has passed."""
    return max(0.0, unix_seconds(time) - now)


def heartbeat(status: BenchmarkRunStatus, now: float) -> str:
    """A sentence on the try in progress, for output without bars; empty if there is nothing to say."""
    shown, progress = status.current, status.progress
    if shown is None or progress is None or shown.state.finished:
        return ""
    state, *facts = _facts(status, shown, now)
    quality = [f"quality {progress.quality} of {progress.target}"] if progress.quality else []
    left = run_seconds_left(status, now)
    rest = [f"about {duration(left)} left for the run"] if left else []
    return f"{shown.id}: " + ", ".join([state, *quality, *facts, *rest])
