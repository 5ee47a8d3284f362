"""What the operator keeps in memory about one run.

All of it can be restored from the API server, the pods' logs and the store: a restart loses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from podium.api import AttemptState, AttemptStatus, ConditionType, TryId
from podium.controller.observation import Observation
from podium.controller.pod_logs import PodLogs
from podium.kube import LogStream
from podium.mllog import LogBuffer
from podium.reconcile import Observed, ObservedLog, Refusal, Run
from podium.results import LogDigest, Sealed
from podium.rules import Goal

_REPEATABLE = (AttemptState.FAILED, AttemptState.ABORTED)


@dataclass(slots=True)
class OpenLog:
    """A log being read. Written by `LogCollector`."""

    buffer: LogBuffer
    stream: LogStream
    task: asyncio.Task[None]
    restored: bool  # whether the checkpoint of earlier processes, if any, is in `buffer`
    saved_bytes: int = 0  # of `buffer`, from its beginning; they are in the store
    saved_lines: LogDigest = field(default_factory=LogDigest)  # of the same, without timestamps
    saved_order: int = 0  # `buffer.arranged` when they were saved
    segment_start: int = 0  # where the last segment of the checkpoint begins
    saved_at: float = 0.0  # time.monotonic()
    saved_read: int = 0  # `stream.bytes_read` at that time
    urgent_bytes: int = 0  # `buffer.urgent_bytes` when it was looked at last
    urgent_at: float = 0.0  # time.monotonic() when it had grown
    saving: asyncio.Task[None] | None = None
    sealed: bool = False  # its try is judged and being stored: what is printed from now on is not kept

    def writer(self, process: str) -> str:
        """Return who writes its checkpoint. A log that was put into another order has another writer: the ledger would
        otherwise say that it was changed."""
        return f"{process}r{self.buffer.arranged}" if self.buffer.arranged else process

    def observed(self) -> ObservedLog:
        stream = self.stream
        log = ObservedLog.of(
            self.buffer, known_until=stream.known_until, unreadable=stream.unreadable, lost=stream.lost
        )
        return log if self.restored else replace(log, restored=False)


@dataclass(slots=True)
class LogState:
    """The logs of rank 0 and of all pods. Written by `LogCollector`."""

    inherited: frozenset[TryId] = frozenset()  # tries of an earlier operator process, which may have left checkpoints
    open: dict[TryId, OpenLog] = field(default_factory=dict)
    read: dict[TryId, ObservedLog] = field(default_factory=dict)  # logs of tries that are stored, or being stored
    pod_logs: dict[TryId, PodLogs] = field(default_factory=dict)  # being stored
    saved: set[TryId] = field(default_factory=set)  # tries of which this process has stored a checkpoint
    dropping: set[TryId] = field(default_factory=set)
    dropped: set[TryId] = field(default_factory=set)

    @property
    def checkpoints(self) -> frozenset[TryId]:
        """The tries that may have checkpoints in the store."""
        return frozenset((self.inherited | self.saved) - self.dropped)


@dataclass(slots=True)
class UploadState:
    """What is in the result store. Written by `Uploader`."""

    stored: set[TryId] = field(default_factory=set)
    storing: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # uploads in progress
    failures: int = 0  # consecutive
    retry_at: float = 0.0  # time.monotonic()
    error: str = ""
    sealed: Sealed | None = None  # the stored result


@dataclass(slots=True)
class ReportState:
    """What was reported to the API server. Written by `StatusWriter`. Times are unix seconds."""

    written: dict[str, Any] | None = field(default_factory=dict)  # the status on the API server; None: not known
    cut: bool = False  # whether the status must be cut to what its schema allows
    attempts: tuple[AttemptStatus, ...] = ()  # the tries in it
    changed_at: float | None = None  # when the oldest unwritten change was made
    starting_delay: float = 0.0  # seconds after which a first status is due although a run has only begun to start
    quiet_until: float = 0.0  # no progress is written before this time
    last_reported: tuple[object, ...] = ()  # the significant part of what was written

    @property
    def ended(self) -> bool:
        """Whether the API server has the condition that says how the run ended."""
        conditions = (self.written or {}).get("conditions", ())
        return any(
            c["type"] in (ConditionType.COMPLETE, ConditionType.FAILED) and c["status"] == "True" for c in conditions
        )


@dataclass(slots=True)
class LaunchState:
    """Outcomes of requests to create Jobs and Events. Written by `ActionExecutor`."""

    refusal: Refusal | None = None
    refusals: int = 0  # consecutive
    events: set[str] = field(default_factory=set)  # keys of the Events that were posted
    asked_at: dict[TryId, float] = field(default_factory=dict)  # when this process first asked for a Job, monotonic


@dataclass(slots=True)
class RunState:
    """One run, in parts with one writer each; the `Controller` writes what is not in a part.

    The status in `run` is read from the API server once, at the start: nobody else writes it.
    """

    run: Run
    goal: Goal | None  # None when the run is not admitted
    observation: Observation
    logs: LogState = field(default_factory=LogState)
    uploads: UploadState = field(default_factory=UploadState)
    report: ReportState = field(default_factory=ReportState)
    launch: LaunchState = field(default_factory=LaunchState)
    jobs_known: bool = True  # whether a Job that is not observed is known not to exist
    gone: bool = False  # whether the API server no longer has the run

    def observed(self) -> Observed:
        """Return the input of `decide`."""
        jobs, unsure = self.observation.jobs, self.observation.unsure
        return Observed(
            jobs={id_: job for id_, job in jobs.items() if id_ not in unsure} if unsure else jobs,
            logs={**self.logs.read, **{id_: log.observed() for id_, log in self.logs.open.items()}},
            stored=frozenset(self.uploads.stored),
            result=self.uploads.sealed and self.uploads.sealed.result,
            sealed=self.uploads.sealed and self.uploads.sealed.action,
            store_error=self.uploads.error,
            launch_refusal=self.launch.refusal,
            jobs_known=self.jobs_known,
            recorded={attempt.id: attempt for attempt in self.report.attempts},
            end_recorded=self.run.status.terminal and self.report.ended,
            checkpoints=self.logs.checkpoints,
        )

    def asked_for(self, id_: TryId) -> float | None:
        """Return a time before which the Job of a try cannot have run, in unix seconds by this machine's clock as it is
        now: the API server's is another. None if this process has not asked for it."""
        job, asked_at = self.observation.jobs.get(id_), self.launch.asked_at.get(id_)
        if job is None or asked_at is None:
            return None
        return min(job.created, time.time() - (time.monotonic() - asked_at))  # an earlier process may have asked

    def awaits_record(self, ended_before: Iterable[TryId]) -> bool:
        """Return whether there is more to do now that the status on the API server has been written: something to
        delete, or a try to repeat. `ended_before` are the tries that had ended in the status before."""
        jobs = self.observation.jobs
        if self.run.status.terminal:
            expires = self.run.spec.ttl_seconds_after_finished is not None
            return bool(self.logs.checkpoints) or expires or any(not job.finished for job in jobs.values())
        attempts = self.run.status.attempts
        finished = {a.id for a in attempts if a.state.finished and a.stored}
        repeatable = any(a.state in _REPEATABLE for a in attempts if a.id not in ended_before)
        return repeatable or any(not job.finished for id_, job in jobs.items() if id_ in finished)
