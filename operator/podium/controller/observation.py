"""What is known about one run's Jobs and pods: what the watches show, and a memory of those that are gone."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from podium.api import TryId
from podium.controller.pods import NODE_LOST, JobSnapshot, PodSnapshot
from podium.reconcile import Container, ObservedJob, Staging

# A watch shows a new Job within a second; after this long, the API server is asked whether it still exists.
WATCH_SECONDS = 30.0

# For so long, the changes of a run's pods are taken together:
COMING_UP_SECONDS = 4.0  # while some of them do not run yet, and after the run's end
_IN_STEP_SECONDS = 1.0  # once all run, and while they exit one after another


class Observation:
    """The Jobs and pods of one run in `namespace`. Callers must only read its fields."""

    def __init__(self, namespace: str, tries: Mapping[str, TryId] | None = None) -> None:
        """`tries` are the recorded ones by the uid of their Job, so that their pods are known without it."""
        self.jobs: dict[TryId, ObservedJob] = {}
        self.containers: dict[TryId, dict[str, Container]] = {}  # by pod, in their last known state
        self.nodes: set[str] = set()  # names of the cluster's nodes on which pods ran
        self.unsure: set[TryId] = set()  # tries with a pod that no watch shows, and that nobody has said to be gone
        self._hidden: set[str] = set()  # uids of pods that exist, or did, although no watch shows them
        self._namespace = namespace
        self._created: dict[TryId, tuple[JobSnapshot, float]] = {}  # not yet shown by the watch, and since when
        self._absent: set[TryId] = set()  # tries whose Job is known not to exist
        self._tries: dict[str, TryId] = dict(tries or {})  # by uid of the Job, for every Job that the run ever had
        self._foreign: frozenset[str] = frozenset()  # uids of foreign pods that were reported
        self._first: dict[TryId, Container] = {}  # pods that only earlier processes have seen

    def expect(self, job: JobSnapshot, now: float) -> None:
        """Add a Job that exists although the watch may not show it yet."""
        self._created[job.id] = job, now
        self._tries[job.job.uid] = job.id
        self.jobs[job.id] = self._with_containers(job)

    def missing(self, id_: TryId) -> None:
        """Remove a Job that the API server does not have."""
        self._created.pop(id_, None)
        self.jobs.pop(id_, None)
        self._absent.add(id_)

    def unconfirmed(self, ids: Iterable[TryId], now: float) -> list[TryId]:
        """Return the tries whose Job may or may not exist, since the watch does not show it and may be late.

        These are created Jobs, of which one that is deleted soon is never shown, and those of `ids` without a Job.
        """
        late = [id_ for id_, (_, since) in self._created.items() if now - since >= WATCH_SECONDS]
        return late + [id_ for id_ in ids if id_ not in self.jobs and id_ not in self._absent]

    @property
    def awaits_watch(self) -> bool:
        """Whether there are Jobs that the watch does not show yet."""
        return bool(self._created)

    def lacking(self, ids: Iterable[TryId], nodes: int) -> dict[TryId, str]:
        """Return the tries that may have pods that no watch shows, with the uid of their Job.

        These are those that are unsure, and those of `ids` with fewer than `nodes` pods.
        """
        few = {id_ for id_ in ids if (job := self.jobs.get(id_)) and len(job.containers) < nodes}
        return {id_: job_uid for job_uid, id_ in self._tries.items() if id_ in self.unsure | few}

    def update(
        self,
        jobs: Iterable[JobSnapshot],
        pods: Iterable[PodSnapshot],
        now: float,
        answers: Mapping[TryId, Mapping[str, PodSnapshot | None]] = MappingProxyType({}),
    ) -> int:
        """Take over what the watches show at `now` (unix seconds), and the `answers` of the API server: all pods of a
        try by uid, with None for one that exists and cannot be read.

        Returns the number of newly found pods that carry the run's label but do not belong to it.
        """
        # of two Jobs of one try, one with a name from before the prefix, the older one is the try
        ours = sorted((job for job in jobs if job.namespace == self._namespace), key=lambda job: -job.job.created)
        seen = {job.id: job for job in ours}
        self._created = {id_: job for id_, job in self._created.items() if id_ not in seen}
        self._absent -= seen.keys()
        current = {**{id_: job for id_, (job, _) in self._created.items()}, **seen}
        self._tries.update((job.job.uid, id_) for id_, job in current.items())
        shown = {pod.uid: pod for pod in pods}
        answered = (pod for answer in answers.values() for uid, pod in answer.items() if uid not in shown)
        self._hidden = (self._hidden | {uid for answer in answers.values() for uid in answer}) - shown.keys()
        foreign = self._update_pods([*shown.values(), *filter(None, answered)], answers, now)
        self.jobs = {id_: self._with_containers(self._remembered(job, now)) for id_, job in current.items()}
        new, self._foreign = len(foreign - self._foreign), frozenset(foreign)
        return new

    def _with_containers(self, job: JobSnapshot) -> ObservedJob:
        pods, restarted = self._pods(job.id, job.job)
        return replace(job.job, containers=tuple(pods), restarted=restarted)

    def _pods(
        self, id_: TryId, job: ObservedJob | None, found: Container | None = None
    ) -> tuple[list[Container], bool]:
        """Return the pods of a try, one of each rank, and whether its Job has replaced any that had started.

        A Job does that for one reason only: it was suspended, and admitted again. The try is what the first ones did;
        one that went before it started, and before that admission, did nothing.
        """
        known = dict(self.containers.get(id_, {}))
        if found:
            known.setdefault(found.name, found)
        if (first := self._first.get(id_)) and any(c.node_index == 0 and c.started is not None for c in known.values()):
            known.setdefault(first.name, first)
        admitted = job.admitted if job else None
        if admitted is not None:
            known = {name: c for name, c in known.items() if not (_did_nothing(c) and c.created < admitted)}
        own: dict[int, Container] = {}
        restarted = False
        for pod in sorted(known.values(), key=lambda pod: pod.created):
            if pod.node_index in own and own[pod.node_index].started is not None:
                restarted = True
            else:
                own[pod.node_index] = pod
        return [pod for pod in known.values() if own[pod.node_index] is pod], restarted

    def began(self, id_: TryId, pod: Container) -> None:
        """Remember rank 0's pod, whose log an earlier process has read: another that has started has replaced it."""
        self._first[id_] = pod

    def _remembered(self, job: JobSnapshot, now: float) -> JobSnapshot:
        """Return a Job with when something was first seen that nobody, or only another clock, has stamped."""
        one, before = job.job, self.jobs.get(job.id)
        if one.failing or one.finished == "Failed":
            seen = before.failing_seen if before else None
            one = replace(one, failing_seen=now if seen is None else seen)
        if not one.suspended and one.admitted is None:
            # a busy controller says late since when a Job is not suspended: no pod has waited while it was queued
            queued = one.queue or one.suspended_since is not None or (before is not None and before.suspended)
            known = before.admitted if before and not before.suspended else None
            one = replace(one, admitted=now if known is None and queued else known)
        return job if one is job.job else replace(job, job=one)

    def _update_pods(
        self, pods: Iterable[PodSnapshot], answers: Mapping[TryId, Collection[str]], now: float
    ) -> set[str]:
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
        self.unsure = set()
        for id_, known in self.containers.items():
            for name, container in known.items():
                if container.finished is not None or name in alive.get(id_, {}):
                    continue
                # a watch does not only lose pods that are deleted, but also those that are no longer selected
                shown = container.uid not in self._hidden
                if (shown and container.deleted is not None) or (id_ in answers and container.uid not in answers[id_]):
                    known[name] = _vanished(container, now)
                elif id_ not in answers:
                    self.unsure.add(id_)
        for id_, containers in alive.items():
            known = self.containers.setdefault(id_, {})
            for name, container in containers.items():
                last = known.get(name)
                if _is_ending(container) and (last is None or not _is_ending(last)):
                    # keep containers in the order in which they began to end, even within one second: a Job deletes
                    # its other pods because one has failed, and pods fail because another one was deleted
                    known.pop(name, None)
                known[name] = _timed(container, last, now)
        return foreign

    def explain(self, causes: Mapping[str, str]) -> None:
        """Add why Jobs have no pods, by the uid of the Job."""
        for id_, job in self.jobs.items():
            if cause := causes.get(job.uid):
                self.jobs[id_] = replace(job, cause=cause)

    def all_containers(self) -> Iterable[Container]:
        """Return the containers of every try, including those whose Job is gone."""
        return itertools.chain.from_iterable(of_try.values() for of_try in self.containers.values())

    def pods_of(self, id_: TryId) -> list[Container]:
        """Return the containers of a try, in the order of their rank."""
        return sorted(self._pods(id_, self.jobs.get(id_))[0], key=lambda container: container.node_index)

    def rank0(self, id_: TryId, found: Container | None = None) -> Container | None:
        """Return rank 0's container; None if its pod was never seen. `found` is one that no watch has shown yet."""
        return next((c for c in self._pods(id_, self.jobs.get(id_), found)[0] if c.node_index == 0), None)

    def silent(self, id_: TryId) -> bool:
        """Return whether rank 0 of this try has printed everything it can, as far as that is known."""
        job, rank0 = self.jobs.get(id_), self.rank0(id_)
        if job is None:
            return id_ in self._absent  # else no watch shows it, perhaps because its label was taken off
        if rank0 is None:
            return bool(job.finished)
        never_ran = rank0.started is None  # if a queue took it away, the Job gets another pod
        return rank0.finished is not None and (not never_ran or bool(job.finished or job.failing))


def _timed(container: Container, last: Container | None, now: float) -> Container:
    """Return a container with when its changes were seen: a node's clock may be an hour off."""
    changes: dict[str, Any] = {}
    if container.waiting:
        since = last.waiting_since if last and last.waiting == container.waiting else None
        changes["waiting_since"] = now if since is None else since
    elif container.started is not None and last:
        changes["came_up"] = now if last.started is None else last.came_up
    if container.finished is not None:
        seen = last.seen_ended if last else None
        changes["seen_ended"] = now if seen is None else seen
    if (staging := container.staging) and last:
        before = last.staging or Staging()
        changes["staging"] = replace(
            staging,
            seen_started=_seen(staging.started, before.started, before.seen_started, now),
            seen_finished=_seen(staging.finished, before.finished, before.seen_finished, now),
        )
    return replace(container, **changes) if changes else container


def _seen(stamp: float | None, before: float | None, seen: float | None, now: float) -> float | None:
    """Return when something happened, if it was seen not to have happened before."""
    return now if stamp is not None and before is None else seen


def _did_nothing(container: Container) -> bool:
    return container.started is None and container.finished is not None


def _is_ending(container: Container) -> bool:
    return container.finished is not None or container.deleted is not None


def _vanished(last: Container, now: float) -> Container:
    """Return a container whose pod is gone, and was last seen running or waiting."""
    gone = replace(last.vanished(now if last.deleted is None else last.deleted), seen_ended=now)
    return replace(gone, stopped=NODE_LOST, message="the pod is gone with its node") if last.node_lost else gone


def patience(containers: Sequence[Container]) -> float:
    """Return how many seconds a run can wait for more changes of its pods."""
    if any(c.deleted is not None or (c.finished is not None and c.exit_code != 0) for c in containers):
        return 0.0
    left = [c for c in containers if c.finished is None]
    if containers and not left:
        return 0.0
    return COMING_UP_SECONDS if any(c.started is None for c in left) or not left else _IN_STEP_SECONDS
