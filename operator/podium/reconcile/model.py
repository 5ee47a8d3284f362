"""The values that `decide` takes and returns. No I/O here: drivers observe and execute actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from podium.api import AttemptStatus, BenchmarkRunSpec, BenchmarkRunStatus, Reason, Result, Score, TryId
from podium.mllog import LogBuffer, LogSummary


@dataclass(frozen=True, slots=True)
class Run:
    """One BenchmarkRun as last read."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: BenchmarkRunSpec
    status: BenchmarkRunStatus
    deleted: bool = False
    stopped_by: str = ""  # what stopped a run on this machine, such as "Ctrl-C"; then it is deleted, too
    refusal: str = ""  # why the object could not be read, when its schema let a mistake through


@dataclass(frozen=True, slots=True)
class Staging:
    """The copying of the data set to one pod's node. Times are unix seconds."""

    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None
    last_lines: str = ""  # of what it printed, when it failed
    report: Mapping[str, int | float] = field(default_factory=dict)  # files, bytes, copiedBytes, ... of a success


@dataclass(frozen=True, slots=True)
class Container:
    """The trainer's container of one pod (locally: one torchrun process). Times are unix seconds."""

    name: str  # of the pod
    node_index: int
    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None
    waiting: str = ""  # reason why it does not run yet: ErrImagePull, Unschedulable, ...
    stopped: str = ""  # reason why it stopped: OOMKilled, Evicted, Deleted, Error, Completed, ...
    message: str = ""
    deleted: float | None = None  # when its deletion was asked for, while it still runs
    staging: Staging | None = None  # before it, where the data are staged


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """The Job of one try with the pods seen for it."""

    uid: str
    created: float
    suspended: bool = False
    finished: Literal["", "Complete", "Failed"] = ""
    message: str = ""
    containers: tuple[Container, ...] = ()

    def container(self, node_index: int) -> Container | None:
        return next((c for c in self.containers if c.node_index == node_index), None)

    def left(self, nodes: int) -> bool:
        """Whether the containers of all `nodes` have ended."""
        return len(self.containers) >= nodes and all(c.finished is not None for c in self.containers)


@dataclass(frozen=True, slots=True)
class ObservedLog:
    """What rank 0 of one try has printed so far."""

    summary: LogSummary = field(default_factory=LogSummary)
    ended: bool = False  # nothing more can come
    tail: str = ""  # the last ordinary lines, for the error message
    problem: str = ""  # first line that looked like an MLPerf line and could not be read, with its number

    @classmethod
    def of(cls, buffer: LogBuffer) -> ObservedLog:
        """What `buffer` holds now."""
        return cls(buffer.summary, ended=buffer.ended, tail=buffer.tail, problem=buffer.problem)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why Service or Job of the next try could not be created; `final` when trying again would not help."""

    message: str
    since: float
    final: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """The world outside the BenchmarkRun."""

    jobs: Mapping[TryId, ObservedJob] = field(default_factory=dict)
    logs: Mapping[TryId, ObservedLog] = field(default_factory=dict)
    stored: frozenset[TryId] = frozenset()
    result: Result | None = None  # set once result.json and SHA256SUMS are written
    store_error: str = ""
    launch_refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create the Job of a try, and the run's Service when it is missing."""

    id: TryId
    seed: int


@dataclass(frozen=True, slots=True)
class DeleteJob:
    id: TryId


@dataclass(frozen=True, slots=True)
class StoreAttempt:
    """Write log, pods' logs and record of a finished try; `concluding` when no further try follows."""

    attempt: AttemptStatus
    concluding: bool


@dataclass(frozen=True, slots=True)
class StoreResult:
    """Write result.json and then SHA256SUMS."""

    score: Score
    attempts: tuple[AttemptStatus, ...]
    outcome: Literal["Complete", "Failed", "Aborted"]
    message: str


@dataclass(frozen=True, slots=True)
class DeleteRun:
    """Delete the run: its time to live after the end is over."""


@dataclass(frozen=True, slots=True)
class Emit:
    """A Kubernetes Event: what happened between the conditions."""

    reason: Reason
    message: str

    @property
    def type(self) -> Literal["Normal", "Warning"]:
        assert self.reason.event is not None, f"{self.reason} is not a reason of Events"
        return self.reason.event


Action = CreateJob | DeleteJob | StoreAttempt | StoreResult | DeleteRun | Emit


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, what to report, and when to look again even if nothing happens (unix seconds)."""

    actions: tuple[Action, ...]
    status: BenchmarkRunStatus
    wake_at: float | None = None
