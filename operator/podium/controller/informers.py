"""The Jobs and pods of all runs, kept up to date."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from podium.controller.pods import JobFacts, PodFacts, job_facts, pod_facts
from podium.kube import Api, Informer


class Informers:
    """The Jobs and pods of all runs, in some namespaces or (none given) in all."""

    def __init__(
        self, api: Api, namespaces: Sequence[str], *, changed: Callable[[str], None], seen: Callable[[str], None]
    ) -> None:
        places = namespaces or (None,)
        self._jobs = [Informer(api, "jobs", place, job_facts, changed=changed, seen=seen) for place in places]
        self._pods = [Informer(api, "pods", place, pod_facts, changed=changed, seen=seen) for place in places]
        self._all: list[Informer[Any]] = [*self._jobs, *self._pods]

    def jobs(self, run_uid: str) -> Iterable[JobFacts]:
        """Of one run."""
        return itertools.chain.from_iterable(watch.of(run_uid) for watch in self._jobs)

    def pods(self, run_uid: str) -> Iterable[PodFacts]:
        """Of one run."""
        return itertools.chain.from_iterable(watch.of(run_uid) for watch in self._pods)

    async def listed(self) -> None:
        """Wait until everything that exists is known: before that, nothing can be decided."""
        for watch in self._all:
            await watch.listed.wait()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watch in self._all:
                group.create_task(watch.run())
