"""The values that `decide` takes and returns. No I/O here: drivers observe and execute actions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from podium.api import AttemptStatus, BenchmarkRunSpec, BenchmarkRunStatus, Reason, Result, Score, TryId
from podium.mllog import LogBuffer, LogSummary, Sightings

Outcome = Literal["Complete", "Failed", "Aborted"]


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
    stopped_by: str = ""  # what stopped a run on this machine, such as "Ctrl-C"; `deleted` is then set as well
    refusal: str = ""  # why the object could not be read although the API server accepted it


@dataclass(frozen=True, slots=True)
class Staging:
    """Copying the data set to one pod's node. Times are unix seconds."""

    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None
    last_lines: str = ""  # of its output, if it failed
    report: Mapping[str, int | float] = field(default_factory=dict)  # files, bytes, copiedBytes, ... if it succeeded
    seen_started: float | None = None  # when it was first seen, if it was seen not to have happened before: these two
    seen_finished: float | None = None  # are of no node's clock


@dataclass(frozen=True, slots=True)
class Container:
    """The trainer's container in one pod (locally: one torchrun process). Times are unix seconds."""

    name: str  # of the pod
    node_index: int
    started: float | None = None
    came_up: float | None = None  # when it was first seen running, if it was seen waiting before: no node's clock
    finished: float | None = None
    seen_ended: float | None = None  # when it was first seen to have ended: no node's clock
    exit_code: int | None = None
    end_reported: bool = False  # by its kubelet; otherwise it may run on, on a node that is cut off
    waiting: str = ""  # why it is not running yet: ErrImagePull, Unschedulable, ...
    waiting_since: float | None = None  # when this reason was first seen
    stopped: str = ""  # why it stopped: OOMKilled, Evicted, Deleted, Error, Completed, ...
    message: str = ""
    last_output: str = ""  # of one that failed, if the kubelet says; rank 0's log has more
    deleted: float | None = None  # when its deletion was requested, while it is still running
    staging: Staging | None = None  # the copy before it, if data is staged
    uid: str = ""  # of the pod
    node: str = ""  # the cluster's node
    image_id: str = ""  # the image that runs, with its digest
    signal: int | None = None
    disruption: str = ""  # what took the pod away, such as PreemptionByScheduler or DeletionByTaintManager
    node_lost: bool = False  # its node does not report any more
    memory_limited: bool = False  # it has a memory limit, so that OOMKilled means that it exceeded its own
    created: float = 0.0  # the pod, on the API server's clock
    sidecar: str = ""  # another container of the pod that still runs

    def vanished(self, at: float) -> Container:
        """Return the container of a pod that is gone since `at` (unix seconds), and of whose end nothing is known."""
        why = self.message if self.disruption else ""
        return replace(self, finished=at, stopped="Deleted", message=why or "the pod was deleted")


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """The Job of one try, with its pods."""

    uid: str
    created: float
    suspended: bool = False
    finished: Literal["", "Complete", "Failed"] = ""
    message: str = ""
    containers: tuple[Container, ...] = ()
    seed: int | None = None  # that it was created with
    admitted: float | None = None  # since when it is not suspended
    suspended_since: float | None = None  # while it is suspended, if the Job controller has said so
    failing: str = ""  # why it will fail once all of its pods have ended (condition FailureTarget)
    failing_since: float | None = None  # from then on, the Job controller deletes its other pods
    failing_seen: float | None = None  # when that was first seen
    reason: str = ""  # of its failure, such as BackoffLimitExceeded or DeadlineExceeded
    deleting: bool = False
    cause: str = ""  # why it has no pods, in the API server's words
    name: str = ""
    restarted: bool = False  # it has had other pods since `containers`: it was suspended, and admitted again
    queue: bool = False  # a queue decides when it may run

    @property
    def launched(self) -> float:
        """Since when its pods may be created."""
        return self.created if self.admitted is None else self.admitted

    def container(self, node_index: int) -> Container | None:
        return next((c for c in self.containers if c.node_index == node_index), None)

    def exited(self, nodes: int) -> bool:
        """Return whether the containers on all `nodes` have ended."""
        return len(self.containers) >= nodes and all(c.finished is not None for c in self.containers)

    def may_run(self, nodes: int) -> bool:
        """Return whether it may still hold machines, now or later. Its own status lags behind its containers."""
        if self.finished:
            return False
        return self.suspended or self.restarted or not self.exited(nodes) or any(c.sidecar for c in self.containers)


@dataclass(frozen=True, slots=True)
class ObservedLog:
    """What rank 0 of one try has printed so far."""

    summary: LogSummary = field(default_factory=LogSummary)
    ended: bool = False  # the log is complete
    tail: str = ""  # the last lines that are not MLPerf lines, for error messages
    problem: str = ""  # the first line that looked like an MLPerf line but could not be read, with its number
    known_until: float = 0.0  # unix time up to which everything printed is in `summary`; 0.0: nothing has been read yet
    unreadable: str = ""  # why it cannot be read at present
    lost: str = ""  # with `ended`: why its end will never be read
    overflow: bool = False  # it is longer than the limit; what came after is not in `summary`
    sightings: Sightings = field(default_factory=Sightings)  # when its lines were seen
    restored: bool = True  # what earlier processes have kept of it, if anything, is in `summary`
    heard: float | None = None  # unix time at which this process received its last line

    @property
    def complete(self) -> bool:
        """Whether no more lines can come. A log of which nothing was read is not known to be without lines."""
        return self.ended and (self.known_until > 0 or bool(self.lost))

    @classmethod
    def of(cls, buffer: LogBuffer, *, known_until: float = 0.0, unreadable: str = "", lost: str = "") -> ObservedLog:
        """Return the current content of `buffer`."""
        return cls(
            buffer.summary,
            ended=buffer.ended,
            tail=buffer.tail,
            problem=buffer.problem,
            known_until=known_until,
            unreadable=unreadable,
            lost=lost,
            overflow=buffer.overflow,
            sightings=buffer.sightings,
            heard=buffer.heard,
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the Service or Job of the next try could not be created; `final` if a retry would not help."""

    message: str
    since: float
    final: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """The observed state of the world outside the BenchmarkRun."""

    jobs: Mapping[TryId, ObservedJob] = field(default_factory=dict)
    logs: Mapping[TryId, ObservedLog] = field(default_factory=dict)
    stored: frozenset[TryId] = frozenset()
    result: Result | None = None  # set after result.json and SHA256SUMS are written
    sealed: StoreResult | None = None  # what that result says, perhaps in the words of another process
    store_error: str = ""
    launch_refusal: Refusal | None = None
    jobs_known: bool = True  # whether a Job that is not in `jobs` is known not to exist
    pods_known_until: float = math.inf  # unix time up to which all changes of Jobs and pods are known; 0.0: not listed
    recorded: Mapping[TryId, AttemptStatus] = field(default_factory=dict)  # the tries as the API server has them
    end_recorded: bool = False  # whether the status on the API server says how the run ended
    checkpoints: frozenset[TryId] = frozenset()  # tries whose log may have a checkpoint in the store


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create the Job of a try with a new seed, and the run's Service if it is missing.

    The try is listed when its Job is observed.
    """

    id: TryId


@dataclass(frozen=True, slots=True)
class DeleteJob:
    id: TryId


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Read the log of a try to the present once: a deadline is about to be judged."""

    id: TryId


@dataclass(frozen=True, slots=True)
class ListPods:
    """List the Jobs and pods of the run once more, and decide again: a deadline about them is about to be judged."""


@dataclass(frozen=True, slots=True)
class DropCheckpoint:
    """Remove the checkpoint of a log: its result.txt is stored, and the status says so."""

    id: TryId


@dataclass(frozen=True, slots=True)
class StoreAttempt:
    """Write the log, pod logs and record of a finished try; `concluding` if no further try follows."""

    attempt: AttemptStatus
    concluding: bool


@dataclass(frozen=True, slots=True)
class StoreResult:
    """Write result.json and the rest of the ledger, then SHA256SUMS."""

    score: Score
    attempts: tuple[AttemptStatus, ...]
    outcome: Outcome
    message: str


@dataclass(frozen=True, slots=True)
class DeleteRun:
    """Delete the run, because its time to live after the end has expired."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Post a Kubernetes Event: it reports what conditions omit."""

    reason: Reason
    message: str

    @property
    def type(self) -> Literal["Normal", "Warning"]:
        assert self.reason.event is not None, f"{self.reason} is not an Event reason"
        return self.reason.event


Action = CreateJob | DeleteJob | ReadLog | ListPods | DropCheckpoint | StoreAttempt | StoreResult | DeleteRun | Emit


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, what to report, and when to look again even if nothing happens (unix seconds)."""

    actions: tuple[Action, ...]
    status: BenchmarkRunStatus
    wake_at: float | None = None
