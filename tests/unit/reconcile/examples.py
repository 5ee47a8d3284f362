"""Runs, jobs and logs to build examples from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.api import AttemptState, AttemptStatus, BenchmarkRunSpec, BenchmarkRunStatus, Result, TryId
from podium.mllog import Event, Format, LogAccumulator
from podium.reconcile import Container, Observed, ObservedJob, ObservedLog, Run, Staging, job_name

T0 = 1_700_000_000.0  # every example starts here; times below are seconds after it
FIRST = TryId(attempt=1, number=0)
RESULT = Result(uri="file:///results/lab/digits", sha256="0" * 64)


def spec(**changes: Any) -> BenchmarkRunSpec:
    document: dict[str, Any] = {
        "round": "v0.6",
        "benchmark": "resnet",
        "division": "open",
        "preset": "tiny",
        "attempts": 1,
        "quality": {"target": "0.9"},
        "system": {"name": "test", "nodes": 2},
        "deadlines": {"pending": "10m", "stage": "30m", "init": "5m", "run": "1h"},
    }
    return BenchmarkRunSpec.model_validate({**document, **changes})


def run(status: BenchmarkRunStatus | None = None, *, deleted: bool = False, **changes: Any) -> Run:
    uid = "11111111-2222-3333-4444-555555555555"
    return Run("lab", "digits", uid, 1, spec(**changes), status or BenchmarkRunStatus(), deleted=deleted)


def attempt(index: int = 1, state: AttemptState = AttemptState.PENDING, try_: int = 0, **more: Any) -> AttemptStatus:
    id_ = TryId(attempt=index, number=try_)
    return AttemptStatus(index=index, try_=try_, state=state, seed=7, job=job_name("digits", id_), **more)


def recorded(*attempts: AttemptStatus) -> dict[TryId, AttemptStatus]:
    """These tries as the status on the API server has them."""
    return {attempt.id: attempt for attempt in attempts}


def status(*attempts: AttemptStatus) -> BenchmarkRunStatus:
    return BenchmarkRunStatus(attempts=attempts)


def converged(index: int, seconds: float, *, stored: bool = True) -> AttemptStatus:
    measured = {"time_to_train_seconds": f"{seconds:.3f}", "quality": "0.95", "epochs": "3", "stored": stored}
    return attempt(index, AttemptState.CONVERGED, reason="TargetReached", **measured)


def job(*containers: Container, created: float = 0, **more: Any) -> ObservedJob:
    return ObservedJob(**{"uid": "job", "created": T0 + created, "containers": containers, "seed": 7, **more})


def running(node: int, started: float = 10) -> Container:
    return Container(f"digits-1-0-{node}", node, started=T0 + started)


def ended(index: int, code: int | None = 0, finished: float = 100, stopped: str = "", **more: Any) -> Container:
    why = stopped or ("Completed" if code == 0 else "Error")
    values = {"started": T0 + 10, "finished": T0 + finished, "exit_code": code, "stopped": why, **more}
    return Container(f"digits-1-0-{index}", index, **values)


def waiting(node: int, reason: str, message: str = "", since: float = 10) -> Container:
    return Container(f"digits-1-0-{node}", node, waiting=reason, message=message, waiting_since=T0 + since)


def copying(node: int, started: float = 10, finished: float | None = None, code: int = 0, said: str = "") -> Container:
    """A pod whose data are being copied, or have been."""
    ended = None if finished is None else T0 + finished
    staging = Staging(T0 + started, ended, None if finished is None else code, last_lines=said)
    name = f"digits-1-0-{node}"
    if code:
        return Container(name, node, finished=ended, exit_code=code, stopped="Error", staging=staging)
    return Container(name, node, waiting="PodInitializing", staging=staging)


def log(*lines: tuple[float, str, Any], whole: bool = False, known: float | None = 1e9, **more: Any) -> ObservedLog:
    """Of ``(seconds, key, value)``; a value may be ``(value, metadata)``. It has been read until `known`."""
    folder = LogAccumulator()
    for number, (seconds, key, value) in enumerate(lines):
        what, metadata = value if isinstance(value, tuple) else (value, {})
        folder.add(Event(Format.MLLOG, T0 + seconds, key, what, metadata, number))
    return ObservedLog(folder.snapshot(), ended=whole, known_until=0.0 if known is None else T0 + known, **more)


START = (20, "run_start", None)
GOOD = (60, "eval_accuracy", (0.95, {"epoch_num": 3}))
BAD = (60, "eval_accuracy", (0.55, {"epoch_num": 3}))
SUCCESS = (61, "run_stop", (None, {"status": "success"}))
ABORTED = (61, "run_stop", (None, {"status": "aborted"}))


def observed(
    jobs: ObservedJob | Mapping[TryId, ObservedJob] | None = None,
    logs: ObservedLog | Mapping[TryId, ObservedLog] | None = None,
    **more: Any,
) -> Observed:
    """A lone job or log is that of attempt 1, try 0."""
    by_job = {FIRST: jobs} if isinstance(jobs, ObservedJob) else jobs or {}
    by_log = {FIRST: logs} if isinstance(logs, ObservedLog) else logs or {}
    return Observed(jobs=by_job, logs=by_log, **more)
