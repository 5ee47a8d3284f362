"""Why Jobs have no pods: a quota, Pod Security, a webhook. The Job's status says nothing of it, only its Events do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import aiohttp

from podium.kube import Api, ApiError, backoff
from podium.reconcile import ObservedJob, Run
from podium.text import one_line

_LOG = logging.getLogger(__name__)
_YOUNG_SECONDS = 2.0  # a healthy Job has its pods by then
_AGAIN_SECONDS, _AGAIN_LIMIT_SECONDS = 3.0, 60.0  # between two looks at a namespace
_BUNDLE_SECONDS = 0.2  # Jobs that lack pods often do so together
_MOST_CHARACTERS = 1000
_SELECTOR = "involvedObject.kind=Job,reason=FailedCreate"
_POD = re.compile(r'(pods? "[^"]*?)-[a-z0-9]{5}"')


class Causes:
    """Reads the Events of namespaces in which Jobs lack pods, one namespace at a time, and of no others."""

    def __init__(self, api: Api, wake: Callable[[str, float], None]) -> None:
        """`wake` schedules the reconciliation of a run, by uid and delay in seconds."""
        self._api = api
        self._wake = wake
        self._jobs: dict[str, dict[str, str]] = {}  # that lack pods: by namespace, then the run's uid by the Job's
        self._old_at: dict[str, float] = {}  # by uid of such a Job: when its pods are overdue (time.monotonic())
        self._of_run: dict[str, tuple[str, frozenset[str]]] = {}  # namespace and Jobs in _jobs, by uid of the run
        self._causes: dict[str, str] = {}  # by uid of the Job
        self._due: dict[str, float] = {}  # when to read a namespace (time.monotonic())
        self._looks: dict[str, int] = {}  # at a namespace, in a row, that found nothing new
        self._refused: set[str] = set()  # namespaces whose Events cannot be read
        self._added = asyncio.Event()

    def of(self, jobs: Iterable[ObservedJob]) -> dict[str, str]:
        """Return the known causes by the uid of the Job."""
        return {job.uid: cause for job in jobs if (cause := self._causes.get(job.uid))}

    def update(self, run: Run, jobs: Iterable[ObservedJob], now: float) -> None:
        """Note which Jobs of a run lack pods at `now` (unix seconds)."""
        lacking = {
            job.uid: _seconds_left(job, now)
            for job in jobs
            if not (job.finished or job.suspended or job.deleting or len(job.containers) >= run.spec.system.nodes)
        }
        known = self._of_run.get(run.uid)
        if lacking.keys() != (known[1] if known else frozenset()):
            self.forget(run.uid, keep=lacking)
            if lacking:
                self._note(run, lacking)

    def forget(self, run_uid: str, *, keep: Iterable[str] = ()) -> None:
        """Drop what is known of a run's Jobs, except for the causes of those in `keep`."""
        if (known := self._of_run.pop(run_uid, None)) is None:
            return
        namespace, jobs = known
        for job in jobs:
            del self._jobs[namespace][job], self._old_at[job]
        for job in jobs.difference(keep):
            self._causes.pop(job, None)
        if not self._jobs[namespace]:
            for place in (self._jobs, self._due, self._looks):
                place.pop(namespace, None)

    def _note(self, run: Run, jobs: Mapping[str, float]) -> None:
        """Read the namespace of `jobs` once the first of them have waited for so many seconds."""
        self._of_run[run.uid] = run.namespace, frozenset(jobs)
        of_namespace, now = self._jobs.setdefault(run.namespace, {}), time.monotonic()
        of_namespace.update(dict.fromkeys(jobs, run.uid))
        self._old_at.update((job, now + left) for job, left in jobs.items())
        self._looks[run.namespace] = 0
        first = run.namespace not in self._due
        soon = now + max(min(jobs.values()), _BUNDLE_SECONDS if first else _AGAIN_SECONDS)
        self._due[run.namespace] = min(soon, self._due.get(run.namespace, soon))
        self._added.set()

    async def run(self) -> None:
        """Run until canceled."""
        while True:
            self._added.clear()
            namespace = min(self._due, key=self._due.__getitem__, default=None)
            now = time.monotonic()
            wait = None if namespace is None else self._due[namespace] - now
            if namespace is None or (wait is not None and wait > 0):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._added.wait(), wait)
            elif (old_at := min(self._old_at[job] for job in self._jobs[namespace])) > now:
                self._due[namespace] = old_at  # those that were overdue have got their pods
            else:
                await self._read(namespace)

    async def _read(self, namespace: str) -> None:
        try:
            events = await self._api.events(namespace, _SELECTOR)
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            if namespace not in self._refused:
                self._refused.add(namespace)
                _LOG.warning("cannot read why Jobs in namespace %s have no pods: %s", namespace, error)
            events = None
        else:
            self._refused.discard(namespace)
        if (jobs := self._jobs.get(namespace)) is None:  # they have got their pods meanwhile
            return
        found = {} if events is None else latest_causes(events)
        news = {job: cause for job in jobs if (cause := found.get(job)) and cause != self._causes.get(job)}
        self._causes.update(news)
        for run in {jobs[job] for job in news}:
            self._wake(run, 0.0)
        looks = self._looks[namespace] = 1 if news else self._looks.get(namespace, 0) + 1
        self._due[namespace] = time.monotonic() + backoff(looks, first=_AGAIN_SECONDS, limit=_AGAIN_LIMIT_SECONDS)


def _seconds_left(job: ObservedJob, now: float) -> float:
    """Return for how long a Job may still lack its pods."""
    age = now - (job.admitted or job.created)
    return _YOUNG_SECONDS - age if abs(age) < _YOUNG_SECONDS else 0.0  # far ahead of us, a clock is wrong


def latest_causes(events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the last message about each object, by its uid. Events that cannot be read are left out.

    Pods get another random name with every try; without it, the same cause has the same words.
    """
    latest: dict[str, tuple[str, str]] = {}
    for event in events:
        try:
            uid, message = event["involvedObject"]["uid"], event["message"]
            series = event.get("series") or {}
            at = event.get("lastTimestamp") or series.get("lastObservedTime") or event.get("eventTime") or ""
            if not all(isinstance(text, str) for text in (uid, message, at)):
                continue
        except (LookupError, TypeError, AttributeError):
            continue
        if uid not in latest or latest[uid][0] <= at:
            latest[uid] = at, message
    return {uid: one_line(_POD.sub(r'\1"', message))[:_MOST_CHARACTERS] for uid, (_, message) in latest.items()}
