"""What is known about one run's Jobs and pods: what the watches show, and a memory of those that are gone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace

from podium.api import TryId
from podium.controller.pods import JobSnapshot, PodSnapshot
from podium.reconcile import Container, ObservedJob


class Observation:
    """The Jobs and pods of one run in `namespace`. Callers must only read its fields."""

    def __init__(self, namespace: str) -> None:
        self.jobs: dict[TryId, ObservedJob] = {}
        self.containers: dict[TryId, dict[str, Container]] = {}  # by pod, in their last known state
        self.nodes: set[str] = set()  # names of the cluster's nodes on which pods ran
        self._namespace = namespace
        self._created: dict[TryId, JobSnapshot] = {}  # created by us, not yet shown by the watch
        self._tries: dict[str, TryId] = {}  # by uid of the Job, for every Job that the run ever had
        self._foreign: frozenset[str] = frozenset()  # uids of foreign pods that were reported

    def expect(self, job: JobSnapshot) -> None:
        """Add a Job that was just created and that the watch may not show yet."""
        self._created[job.id] = job
        self._tries[job.job.uid] = job.id

    def update(self, jobs: Iterable[JobSnapshot], pods: Iterable[PodSnapshot], now: float) -> int:
        """Take over what the watches show at `now` (unix seconds).

        Returns the number of newly found pods that carry the run's label but do not belong to it.
        """
        # of two Jobs of one try, one with a name from before the prefix, the older one is the try
        ours = sorted((job for job in jobs if job.namespace == self._namespace), key=lambda job: -job.job.created)
        seen = {job.id: job for job in ours}
        self._created = {id_: job for id_, job in self._created.items() if id_ not in seen}
        current = {**self._created, **seen}
        self._tries.update((job.job.uid, id_) for id_, job in current.items())
        foreign = self._update_pods(pods, now)
        self.jobs = {
            id_: replace(job.job, containers=tuple(self.containers.get(id_, {}).values()))
            for id_, job in current.items()
        }
        new, self._foreign = len(foreign - self._foreign), frozenset(foreign)
        return new

    def _update_pods(self, pods: Iterable[PodSnapshot], now: float) -> set[str]:
        """Update the containers. Returns the uids of the pods that are not ours."""
        alive: dict[TryId, dict[str, Container]] = {}
        foreign: set[str] = set()
        for pod in pods:
            id_ = self._tries.get(pod.job_uid)
            if id_ is None or pod.namespace != self._namespace:
                foreign.add(pod.uid)
                continue
            alive.setdefault(id_, {})[pod.container.name] = pod.container
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
                    known.pop(name, None)  # keep containers in the order in which they ended, even within one second
                known[name] = container
        return foreign

    def explain(self, causes: Mapping[str, str]) -> None:
        """Add why Jobs have no pods, by the uid of the Job."""
        for id_, job in self.jobs.items():
            if cause := causes.get(job.uid):
                self.jobs[id_] = replace(job, cause=cause)

    def all_containers(self) -> Iterable[Container]:
        """Return the containers of every try, including those whose Job is gone."""
        return itertools.chain.from_iterable(of_try.values() for of_try in self.containers.values())

    def rank0(self, id_: TryId) -> Container | None:
        """Return rank 0's container; None if its pod was never seen."""
        return next((c for c in self.containers.get(id_, {}).values() if c.node_index == 0), None)

    def silent(self, id_: TryId) -> bool:
        """Return whether rank 0 of this try has printed everything it can."""
        job, rank0 = self.jobs.get(id_), self.rank0(id_)
        if job is None:
            return True
        return rank0.finished is not None if rank0 else bool(job.finished)
