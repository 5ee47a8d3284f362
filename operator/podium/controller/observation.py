"""What is known of one run's Jobs and pods: what the watches show, and what is remembered of those that are gone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

from podium.api import TryId
from podium.controller.pods import JobSnapshot, PodSnapshot
from podium.reconcile import Container, ObservedJob


class Observation:
    """The Jobs and pods of one run in `namespace`. Its fields are for reading: only its own methods write them."""

    def __init__(self, namespace: str) -> None:
        self.jobs: dict[TryId, ObservedJob] = {}
        self.containers: dict[TryId, dict[str, Container]] = {}  # by pod, as last seen
        self.nodes: set[str] = set()  # of the cluster, on which pods ran
        self._namespace = namespace
        self._created: dict[TryId, JobSnapshot] = {}  # by us, not yet shown by the watch
        self._tries: dict[str, TryId] = {}  # by uid of the Job, of every Job that the run ever had
        self._foreign: frozenset[str] = frozenset()  # uids of the pods of others that were reported

    def expect(self, job: JobSnapshot) -> None:
        """Count on a Job that was created just now."""
        self._created[job.id] = job
        self._tries[job.job.uid] = job.id

    def see(self, jobs: Iterable[JobSnapshot], pods: Iterable[PodSnapshot], now: float) -> int:
        """Take in what the watches show of the run at `now` (unix seconds).

        Returns how many pods were found, other than at the last call, that carry the run's label and are not its own.
        """
        seen = {job.id: job for job in jobs if job.namespace == self._namespace}
        self._created = {id_: job for id_, job in self._created.items() if id_ not in seen}
        current = {**self._created, **seen}
        self._tries.update((job.job.uid, id_) for id_, job in current.items())
        foreign = self._see_pods(pods, now)
        self.jobs = {
            id_: replace(job.job, containers=tuple(self.containers.get(id_, {}).values()))
            for id_, job in current.items()
        }
        new, self._foreign = len(foreign - self._foreign), frozenset(foreign)
        return new

    def _see_pods(self, pods: Iterable[PodSnapshot], now: float) -> set[str]:
        """Returns the uids of the pods that are not ours."""
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
                    known.pop(name, None)  # those that end in the same second stand in the order of their ends
                known[name] = container
        return foreign

    def all_containers(self) -> Iterable[Container]:
        """Of every try, including those whose Job is gone."""
        return itertools.chain.from_iterable(of_try.values() for of_try in self.containers.values())

    def rank0(self, id_: TryId) -> Container | None:
        """Rank 0's container, None when its pod was never seen."""
        return next((c for c in self.containers.get(id_, {}).values() if c.node_index == 0), None)

    def silent(self, id_: TryId) -> bool:
        """Whether rank 0 of this try can print no more."""
        job, rank0 = self.jobs.get(id_), self.rank0(id_)
        if job is None:
            return True
        return rank0.finished is not None if rank0 else bool(job.finished)
