"""The Jobs and pods of all runs, kept up to date."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from podium.controller.pods import CONTROLLER_LABEL, JobSnapshot, PodSnapshot, read_job, read_pod
from podium.kube import JOBS, PODS, Api, Informer, Resource
from podium.launch import RUN_UID_LABEL
from podium.reconcile import Run

S = TypeVar("S", JobSnapshot, PodSnapshot)


class Informers:
    """The Jobs and pods of all runs in `namespaces`, or in all namespaces if none are given."""

    def __init__(
        self,
        api: Api,
        namespaces: Sequence[str],
        *,
        changed: Callable[[str], None],
        seen: Callable[[str], None],
        ignored: Callable[[str, str], None],
    ) -> None:
        """`changed` gets the uid of a run; for `seen` and `ignored` see `Informer`."""
        places = namespaces or (None,)

        def informer(
            resource: Resource, place: str | None, read: Callable[[Mapping[str, Any]], S | None]
        ) -> Informer[S]:
            return Informer(api, resource, place, RUN_UID_LABEL, read, changed=changed, seen=seen, ignored=ignored)

        self._jobs = [informer(JOBS, place, read_job) for place in places]
        self._pods = [informer(PODS, place, read_pod) for place in places]
        self._all: list[Informer[Any]] = [*self._jobs, *self._pods]

    def jobs(self, run_uid: str) -> Iterable[JobSnapshot]:
        """Return the Jobs of one run."""
        return itertools.chain.from_iterable(informer.of(run_uid) for informer in self._jobs)

    def pods(self, run_uid: str, *, gone: bool = True) -> Iterable[PodSnapshot]:
        """Return the pods that carry one run's label; with `gone`, also those that went since the last such call."""
        return itertools.chain.from_iterable(informer.of(run_uid, gone=gone) for informer in self._pods)

    def known(self, namespace: str) -> bool:
        """Return whether all existing objects of a namespace are known: nothing can be decided before that."""
        return all(i.listed.is_set() for i in self._all if i.namespace in (None, namespace))

    async def refresh(self, namespace: str, run_uid: str) -> None:
        """List the Jobs and pods of one run once more: a watch may be late. Raises ApiError and others."""
        for informer in self._all:
            if informer.namespace in (None, namespace):
                await informer.refresh(namespace, run_uid)

    async def listed(self, *, within: float) -> None:
        """Wait until all existing objects are known, or `within` seconds: a namespace that cannot be listed must not
        hold up the others."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                for informer in self._all:
                    await informer.listed.wait()

    async def run(self) -> None:
        """Run until canceled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._all:
                group.create_task(informer.run())


async def pods_of_job(api: Api, run: Run, job_uid: str) -> AsyncIterator[tuple[Mapping[str, Any], PodSnapshot | None]]:
    """Yield the pods of a Job of `run`, each with its snapshot, or None if it is unreadable or not the Job's now.

    They are those that the Job controller selects: no watch shows one that somebody has taken our labels off. Raises
    ApiError, aiohttp.ClientError and TimeoutError.
    """
    async for bodies, _ in api.pages(PODS, run.namespace, f"{CONTROLLER_LABEL}={job_uid}"):
        for body in bodies:
            try:
                pod = read_pod(body, run.uid)
            except (LookupError, TypeError, ValueError, AttributeError):
                pod = None
            yield body, pod if pod and pod.job_uid == job_uid else None
