"""What the operator holds in memory of one run: its status, its logs, what is stored.

All of it can be had again from the API server, the pods' logs and the store: a restart loses nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from podium.api import Result, TryId
from podium.controller.pods import JobFacts, PodFacts
from podium.kube.log_stream import LogStream
from podium.mllog import LogBuffer
from podium.reconcile import Container, Observed, ObservedJob, ObservedLog, Refusal, Run


@dataclass(slots=True)
class OpenLog:
    """A log being read."""

    book: LogBuffer
    follower: LogStream
    task: asyncio.Task[None]
    saved_bytes: int = 0
    saved_at: float = 0.0


@dataclass(slots=True)
class RunState:
    """One run. `run.status` is ours alone to write: it is read from the API server once, at the start."""

    run: Run
    inherited: frozenset[TryId] = frozenset()  # tries of an earlier operator, which may have left checkpoints
    written: dict[str, Any] = field(default_factory=dict)  # the status as the API server has it
    quiet_until: float = 0.0  # no progress is written before
    changed_at: float | None = None  # since when there is progress that is not written
    last_reported: tuple[object, ...] = ()  # the significant part of it
    jobs: dict[TryId, ObservedJob] = field(default_factory=dict)
    created: dict[TryId, JobFacts] = field(default_factory=dict)  # by us, not yet seen by the watch
    containers: dict[TryId, dict[str, Container]] = field(default_factory=dict)  # by pod, as last seen
    logs: dict[TryId, OpenLog] = field(default_factory=dict)
    read: dict[TryId, ObservedLog] = field(default_factory=dict)  # logs that are stored
    pod_logs: dict[TryId, dict[str, bytes]] = field(default_factory=dict)  # saved before their Job was deleted
    stored: set[TryId] = field(default_factory=set)
    storing: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    store_failures: int = 0
    store_retry_at: float = 0.0
    store_error: str = ""
    nodes: set[str] = field(default_factory=set)  # of the cluster, on which pods ran
    result: Result | None = None
    refusal: Refusal | None = None
    refusals: int = 0
    events: set[str] = field(default_factory=set)  # posted

    def see(self, jobs: Iterable[JobFacts], pods: Iterable[PodFacts], now: float) -> None:
        """Take in what the watches hold of this run."""
        seen = {job.id: job for job in jobs}
        self.created = {id_: job for id_, job in self.created.items() if id_ not in seen}
        self._see_pods(pods, now)
        self.jobs = {
            id_: ObservedJob(
                uid=job.uid,
                created=job.created,
                suspended=job.suspended,
                finished=job.finished,
                message=job.message,
                containers=tuple(self.containers.get(id_, {}).values()),
            )
            for id_, job in {**self.created, **seen}.items()
        }
        for following in self.logs.values():
            following.follower.wake()

    def _see_pods(self, pods: Iterable[PodFacts], now: float) -> None:
        alive: dict[TryId, dict[str, Container]] = {}
        for pod in pods:
            alive.setdefault(pod.id, {})[pod.container.name] = pod.container
            if pod.node:
                self.nodes.add(pod.node)
        for id_, known in self.containers.items():
            for name, last in known.items():
                if last.finished is None and name not in alive.get(id_, {}):
                    ended = now if last.deleted is None else last.deleted
                    known[name] = replace(last, finished=ended, stopped="Deleted", message="the pod was deleted")
        for id_, containers in alive.items():
            known = self.containers.setdefault(id_, {})
            for name, container in containers.items():
                if container.finished is not None and (name not in known or known[name].finished is None):
                    known.pop(name, None)  # those that end in the same second stand in the order of their ends
                known[name] = container

    def all_containers(self) -> Iterable[Container]:
        """Of every try, also of those whose Job is gone."""
        return itertools.chain.from_iterable(of_try.values() for of_try in self.containers.values())

    def rank0_pod(self, id_: TryId) -> Container | None:
        """Rank 0's container, None when its pod was never seen."""
        return next((c for c in self.containers.get(id_, {}).values() if c.node_index == 0), None)

    def silent(self, id_: TryId) -> bool:
        """Whether rank 0 of this try can print no more."""
        job, rank0 = self.jobs.get(id_), self.rank0_pod(id_)
        if job is None:
            return True
        return rank0.finished is not None if rank0 else bool(job.finished)

    def observed(self) -> Observed:
        """For `decide`."""
        following = {
            id_: ObservedLog(f.book.summary, ended=f.book.ended, tail=f.book.tail, problem=f.book.problem)
            for id_, f in self.logs.items()
        }
        return Observed(
            jobs=self.jobs,
            logs={**self.read, **following},
            stored=frozenset(self.stored),
            result=self.result,
            store_error=self.store_error,
            launch_refusal=self.refusal,
        )

    def close(self) -> None:
        """Let go of logs and tasks."""
        for following in self.logs.values():
            following.task.cancel()
            following.book.close()
        self.logs.clear()
        self.pod_logs.clear()
