"""What the operator holds in memory of one run.

All of it can be had again from the API server, the pods' logs and the store: a restart loses nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from podium.api import Result, TryId
from podium.controller.observation import Observation
from podium.kube import LogStream
from podium.mllog import LogBuffer
from podium.reconcile import Observed, ObservedLog, Refusal, Run
from podium.rules import Goal


@dataclass(slots=True)
class OpenLog:
    """A log being read. Written by `LogCollector`."""

    buffer: LogBuffer
    stream: LogStream
    task: asyncio.Task[None]
    saved_bytes: int = 0
    saved_at: float = 0.0


@dataclass(slots=True)
class LogState:
    """Rank 0's logs, and those of the pods. Written by `LogCollector`."""

    inherited: frozenset[TryId] = frozenset()  # tries of an earlier operator, which may have left checkpoints
    open: dict[TryId, OpenLog] = field(default_factory=dict)
    read: dict[TryId, ObservedLog] = field(default_factory=dict)  # of tries that are stored
    pod_logs: dict[TryId, dict[str, bytes]] = field(default_factory=dict)  # saved before their Job was deleted


@dataclass(slots=True)
class UploadState:
    """What is in the result store. Written by `Uploader`."""

    stored: set[TryId] = field(default_factory=set)
    storing: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # uploads in progress
    failures: int = 0  # in a row
    retry_at: float = 0.0  # time.monotonic()
    error: str = ""
    result: Result | None = None


@dataclass(slots=True)
class ReportState:
    """What the API server has of the status. Written by `StatusWriter`. Times are unix seconds."""

    written: dict[str, Any] = field(default_factory=dict)  # the status as the API server has it
    changed_at: float | None = None  # since when there is progress that is not written
    quiet_until: float = 0.0  # no progress is written before
    last_reported: tuple[object, ...] = ()  # the significant part of what was written


@dataclass(slots=True)
class LaunchState:
    """What became of the requests to create Jobs and Events. Written by `ActionExecutor`."""

    refusal: Refusal | None = None
    refusals: int = 0  # in a row
    events: set[str] = field(default_factory=set)  # posted


@dataclass(slots=True)
class RunState:
    """One run, in parts that have one writer each; `run` and `goal` are the `Controller`'s to write.

    The status in `run` is read from the API server once, at the start: nobody else writes it.
    """

    run: Run
    goal: Goal | None  # None when the run is not admitted
    observation: Observation
    logs: LogState = field(default_factory=LogState)
    uploads: UploadState = field(default_factory=UploadState)
    report: ReportState = field(default_factory=ReportState)
    launch: LaunchState = field(default_factory=LaunchState)

    def observed(self) -> Observed:
        """For `decide`."""
        return Observed(
            jobs=self.observation.jobs,
            logs={**self.logs.read, **{id_: ObservedLog.of(log.buffer) for id_, log in self.logs.open.items()}},
            stored=frozenset(self.uploads.stored),
            result=self.uploads.result,
            store_error=self.uploads.error,
            launch_refusal=self.launch.refusal,
        )
