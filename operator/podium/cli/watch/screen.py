"""What ``podium watch`` shows of a run: pure functions of its status."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from podium.api import (
    AttemptState,
    AttemptStatus,
    BenchmarkRunStatus,
    Condition,
    ConditionType,
    Progress,
    Reason,
    unix_seconds,
)
from podium.cli.display import attempts_table
from podium.reconcile import Run

_BAR = 24  # characters
_ROWS = 12  # tries on the screen, the last ones
_REPORTED = (ConditionType.ADMITTED, ConditionType.SUSPENDED, ConditionType.RESULT_STORED)


def news(before: BenchmarkRunStatus, after: BenchmarkRunStatus) -> list[str]:
    """What has happened in between, in sentences: every try, every change of state, every evaluation."""
    lines = [_condition(new) for kind in _REPORTED if (new := _changed(kind, before, after)) and _is_news(new)]
    known = {a.id: a for a in before.attempts}
    for a in after.attempts:
        lines += _attempt_news(known.get(a.id), a, after)
    waiting = _changed(ConditionType.RUNNING, before, after)
    if waiting and waiting.status == "False" and _is_news(waiting) and not _is_of_attempt(waiting):
        lines.append(_condition(waiting))
    if after.result and not before.result:
        lines.append(f"stored: {after.result.uri}")
    lines += [
        _condition(end)
        for kind in (ConditionType.COMPLETE, ConditionType.FAILED)
        if (end := _ended(kind, before, after))
    ]
    return lines


def _attempt_news(before: AttemptStatus | None, now: AttemptStatus, status: BenchmarkRunStatus) -> list[str]:
    lines = [] if before else [f"{now.id}: created with seed {now.seed}"]
    measured = (now.epochs, now.quality)
    if now.quality and (before is None or measured != (before.epochs, before.quality)):
        target = f" of {status.progress.target}" if status.progress and status.progress.target else ""
        epoch = f"epoch {now.epochs}: " if now.epochs else ""
        lines.append(f"{now.id}: {epoch}quality {now.quality}{target}")
    if before is None or (before.state, before.reason, before.message) != (now.state, now.reason, now.message):
        why = ": ".join(filter(None, (now.reason, now.message)))
        seconds = f" after {float(now.time_to_train_seconds):.2f} s" if now.time_to_train_seconds else ""
        lines.append(f"{now.id}: {now.state}{seconds if now.state.finished else ''}" + (f": {why}" if why else ""))
    return lines


def _changed(kind: ConditionType, before: BenchmarkRunStatus, after: BenchmarkRunStatus) -> Condition | None:
    old, new = before.condition(kind), after.condition(kind)
    if new is None or (old and (old.status, old.reason, old.message) == (new.status, new.reason, new.message)):
        return None
    return new


def _ended(kind: ConditionType, before: BenchmarkRunStatus, after: BenchmarkRunStatus) -> Condition | None:
    return after.condition(kind) if after.is_true(kind) and not before.is_true(kind) else None


def _is_news(condition: Condition) -> bool:
    """Whether a condition says more than that everything is as it should be."""
    reason = Reason.known(condition.reason)
    return reason is None or not reason.routine


def _is_of_attempt(condition: Condition) -> bool:
    """Whether a condition repeats the reason of an attempt, which has a line already."""
    reason = Reason.known(condition.reason)
    return reason is not None and reason.state is not None


def _condition(condition: Condition) -> str:
    return f"{condition.type}: {condition.reason}" + (f": {condition.message}" if condition.message else "")


def screen(run: Run, recent: Sequence[str], now: float, outage: str = "") -> RenderableType:
    """The whole picture: tries, bars, and the last `recent` lines. `now` is in unix seconds."""
    parts: list[RenderableType] = [attempts_table(run, set(), last=_ROWS)] if run.status.attempts else [run.name]
    if run.status.progress and run.status.attempts:
        parts.append(_bars(run, run.status.attempts[-1], now))
    running = run.status.condition(ConditionType.RUNNING)
    if running and running.status == "False" and not run.status.terminal:
        parts.append(Text(_condition(running), style="yellow"))
    elif not run.status.conditions:
        parts.append(Text("waits for the operator", style="yellow"))
    parts += [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in recent]
    if outage:
        parts.append(Text(f"the API server does not answer, trying again: {outage}", style="red"))
    return Group(*parts)


def _bars(run: Run, last: AttemptStatus, now: float) -> Table:
    progress = run.status.progress
    assert progress is not None
    grid = Table.grid(padding=(0, 1))
    made, _, asked = progress.attempt.partition("/")
    finished = int(made) - (not last.state.finished)
    left = run_seconds_left(run.status, now)
    about = f"about {duration(left)} for the rest" if left else ""
    grid.add_row("attempts", _bar(finished / max(1, int(asked or 1))), f"{finished} of {asked}  {about}")
    share = attempt_share(last, progress.eta, now)
    facts = [str(last.state), *_facts(progress, now)]
    grid.add_row(str(last.id), _bar(share), "  ".join(facts))
    reached = quality_share(progress.quality, progress.target)
    grid.add_row("quality", _bar(reached), f"{progress.quality or '-'} of {progress.target or '?'}")
    return grid


def _facts(progress: Progress, now: float) -> list[str]:
    """Epoch, speed and time left, as far as they are known."""
    left = seconds_until(progress.eta, now) if progress.eta else 0.0
    facts = [
        f"epoch {progress.epoch}" if progress.epoch else "",
        f"{progress.throughput} samples/s" if progress.throughput else "",
        f"at most {duration(left)} left" if left else "",
    ]
    return [fact for fact in facts if fact]


def _bar(share: float) -> ProgressBar:
    return ProgressBar(total=1.0, completed=min(1.0, max(0.0, share)), width=_BAR)


def attempt_share(attempt: AttemptStatus, eta: str | None, now: float) -> float:
    """How much of its epochs an attempt has used, 0 to 1: by the time they take."""
    if attempt.state.finished:
        return 1.0
    if attempt.state is not AttemptState.TRAINING or attempt.start_time is None or eta is None:
        return 0.0
    begun = now - unix_seconds(attempt.start_time)
    whole = begun + seconds_until(eta, now)
    return begun / whole if whole > 0 else 0.0


def quality_share(quality: str | None, target: str | None) -> float:
    """How near the quality is to its target, 0 to 1; of two metrics the one that is farther from it."""
    if not quality or not target:
        return 0.0
    pairs = zip(_numbers(quality), _numbers(target), strict=False)
    return min((max(0.0, min(1.0, value / goal)) for value, goal in pairs if goal), default=0.0)


def run_seconds_left(status: BenchmarkRunStatus, now: float) -> float | None:
    """Seconds to the last attempt's end, should each take as long as those made; None before the first has ended."""
    created = [unix_seconds(a.created_time) for a in status.attempts if a.created_time]
    if not created or not status.progress or status.terminal:
        return None
    last = status.attempts[-1]
    asked = int(status.progress.attempt.partition("/")[2] or 0)
    made = last.index - (not last.state.finished)
    if made < 1 or made >= asked:
        return None
    until = (
        now
        if last.state.finished
        else next(unix_seconds(a.created_time) for a in status.attempts if a.index == last.index)
    )
    each = (until - created[0]) / made
    return max(0.0, (asked - made) * each - (now - until))


def seconds_until(time: str, now: float) -> float:
    """0 when it is over."""
    return max(0.0, unix_seconds(time) - now)


def duration(seconds: float) -> str:
    """``95`` is "1 min 35 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def heartbeat(status: BenchmarkRunStatus, now: float) -> str:
    """A sentence on the try in progress, for those who see no bars; empty when there is nothing to say."""
    if not status.attempts or not status.progress or status.attempts[-1].state.finished:
        return ""
    last, progress = status.attempts[-1], status.progress
    quality = [f"quality {progress.quality} of {progress.target}"] if progress.quality else []
    return f"{last.id}: " + ", ".join([str(last.state), *quality, *_facts(progress, now)])


def document(run: Run) -> dict[str, Any]:
    """One line of ``--json``."""
    return {
        "event": "status",
        "namespace": run.namespace,
        "name": run.name,
        "status": run.status.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split("/") if re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", part)]
